"""A finished cross-modal run, loaded to be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from batchot.data import Normalization, Preparation
from batchot.training.cross_network import CrossNetwork, embed_tower
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.files import RunError
from batchot.training.inputs import projection_of
from batchot.training.network import Outputs
from batchot.training.saved_run import read_saved
from batchot.training.settings import load_any_recipe
from batchot.training.trained import RunEmbedder


class CrossModalEmbedder(RunEmbedder):
    """The towers of a run in eval mode, each from its samples to embeddings in one space.

    Args:
        network: the towers and, where the recipe has one, their classifier
        recipe: of the run
        preparations: of the samples of each tower
        classes: names of the classes
        metrics: content of metrics.json, empty before the first evaluation
        normalized: L2-normalise the embeddings, as the loss does
    """

    network: CrossNetwork
    recipe: CrossModalRecipe

    def __init__(
        self,
        network: CrossNetwork,
        recipe: CrossModalRecipe,
        preparations: dict[str, Preparation],
        classes: tuple[str, ...],
        metrics: dict[str, Any],
        normalized: bool,
    ) -> None:
        super().__init__(network, recipe, classes, metrics, normalized)
        self.preparations = preparations

    @property
    def towers(self) -> tuple[str, ...]:
        """Names of the towers, queries first, targets last."""
        return tuple(self.recipe.towers)

    @property
    def embedding_dim(self) -> int:
        """Width of the embeddings."""
        return self.network.tower(self.recipe.query).embedder.embedding_dim

    def outputs(self, tower: str, samples: Tensor) -> Outputs:
        """Give embeddings and, where there is a classifier, logits; see `forward`.

        Raises:
            ValueError: there is no such tower
        """
        if tower not in self.towers:
            raise ValueError(f"there is no tower {tower!r}; there are {', '.join(self.towers)}")
        kept = self.network.tower(tower).kept
        x = samples if kept else self._prepared(self.preparations[tower], samples)
        flip = self.recipe.evaluation.flip
        return embed_tower(self.network, tower, x, normalize=self.normalized, flip=flip)

    def forward(self, tower: str, samples: Tensor) -> Tensor:
        """Embed samples by a tower.

        Args:
            tower: its name, such as "sketch" or "shape"
            samples: images (n, c, h, w) or views (n, v, c, h, w) as the tower has them, uint8 in 0 .. 255 or
                floating point in 0 .. 1; or clouds (n, p, 3), centred, in the unit sphere, z up

        Returns:
            Embeddings, shape (n, d), L2-normalised where the loss normalises; those of all towers can be compared.

        Raises:
            ValueError: no such tower, floating point pixels outside 0 .. 1
        """
        return self.outputs(tower, samples).embeddings


def load_cross_run(
    path: str | Path, device: str | torch.device = "cpu", *, checkpoint: Literal["last", "best"] = "last"
) -> CrossModalEmbedder:
    """Load the trained towers of a cross-modal run folder.

    Args:
        path: run folder of ``batchot train``
        device: where to put them
        checkpoint: "last", whose measures are in metrics.json, or "best", the epoch of the highest mAP

    Returns:
        A module called as ``embedder("sketch", images)``, with the attributes ``recipe``, ``towers``,
        ``classes``, ``metrics`` and ``embedding_dim``.

    Raises:
        RunError: there is no cross-modal run, or its checkpoint is damaged or of other networks
    """
    run = read_saved(path, checkpoint)
    recipe, saved = load_any_recipe(str(run.folder.config)), run.content
    if not isinstance(recipe, CrossModalRecipe):
        raise RunError(f"{run.folder.root} is the run of a single network; load it with batchot.load_run")
    try:
        classes, towers = tuple(saved["classes"]), dict(saved["towers"])
        normalized = bool(saved["normalized"])
        shapes = {name: tuple(towers[name]["input_shape"]) for name in recipe.towers}
        pixels = {name: (tuple(towers[name]["mean"]), tuple(towers[name]["std"])) for name in recipe.towers}
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.file} is not a checkpoint of a cross-modal run: it has no {error}") from error
    network = CrossNetwork(recipe, shapes, len(classes), load_pretrained=False)
    run.load_into(network)
    preparations = {
        name: Preparation(
            Normalization(*pixels[name]) if pixels[name][0] else None, projection=projection_of(tower)
        )
        for name, tower in recipe.towers.items()
    }
    return CrossModalEmbedder(network, recipe, preparations, classes, run.metrics(), normalized).to(device)
