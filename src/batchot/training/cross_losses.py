"""The loss of a cross-modal recipe: ours, or any other in the same terms."""

from __future__ import annotations

from torch import nn

from batchot.losses import CrossModal, CrossModalBatchOTLoss
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.losses import batch_ot_settings, make_loss, normalizes


def make_cross_loss(recipe: CrossModalRecipe, n_classes: int) -> CrossModalBatchOTLoss | CrossModal:
    """Make the metric loss of a cross-modal recipe, called with embeddings and labels by tower.

    Args:
        recipe: the loss, and the factors of its terms
        n_classes: classes of the run (for losses with a proxy a class)

    Raises:
        RecipeError: an option is not one of this loss's, or the library that holds it is missing
    """
    settings, together = recipe.loss, recipe.together
    within = {name: together.within.get(name, 1.0) for name in recipe.towers}
    across = {(a, b): together.across.get(f"{a}-{b}", 1.0) for a, b in recipe.pairs}
    if settings.name in ("batch-ot", "uniform"):
        return CrossModalBatchOTLoss.from_settings(
            batch_ot_settings(settings), within, across, four_terms=together.four_terms
        )
    width = recipe.towers[recipe.query].model.widths[-1]
    one = make_loss(settings, n_classes, width)
    return CrossModal(one, within, across, four_terms=together.four_terms)


def cross_normalizes(loss: nn.Module) -> bool:
    """Say whether a cross-modal loss L2-normalises the embeddings itself."""
    if isinstance(loss, CrossModalBatchOTLoss):
        return loss.settings.normalize
    assert isinstance(loss, CrossModal)
    return normalizes(loss.loss)
