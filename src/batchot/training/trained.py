"""A finished run, loaded to be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from batchot.data import Normalization, Preparation
from batchot.errors import RunError
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.inputs import projection_of
from batchot.training.network import Network, Outputs, channels_last, embed
from batchot.training.recipe import Recipe
from batchot.training.recipes import load_recipe
from batchot.training.saved_run import read_saved


class RunEmbedder(nn.Module):
    """The network of a run of any kind in eval mode, and what is known of the run."""

    network: nn.Module
    recipe: Recipe | CrossModalRecipe

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe | CrossModalRecipe,
        classes: tuple[str, ...],
        metrics: dict[str, Any],
        normalized: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.classes = classes
        self.metrics = metrics
        self.normalized = normalized
        self.eval()

    def _prepared(self, preparation: Preparation, samples: Tensor) -> Tensor:
        """Give samples as the network takes them, where it is and as it lays them out."""
        x = prepared_pixels(preparation, samples.to(next(self.network.parameters()).device))
        return channels_last(x) if self.recipe.channels_last else x


class TrainedEmbedder(RunEmbedder):
    """The network of a run in eval mode, from images, views or clouds to embeddings.

    Args:
        network: embedder and, where the recipe has one, classifier
        recipe: of the run
        preparation: projection of clouds and normalisation of pixels
        classes: names of the classes
        metrics: content of metrics.json, empty before the first evaluation
        normalized: L2-normalise the embeddings, as the loss does
    """

    network: Network
    recipe: Recipe

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        preparation: Preparation,
        classes: tuple[str, ...],
        metrics: dict[str, Any],
        normalized: bool,
    ) -> None:
        super().__init__(network, recipe, classes, metrics, normalized)
        self.preparation = preparation

    @property
    def embedding_dim(self) -> int:
        """Width of the embeddings."""
        return self.network.embedder.embedding_dim

    def outputs(self, samples: Tensor) -> Outputs:
        """Give embeddings and, where there is a classifier, logits; see `forward`."""
        x = samples if self.network.kept else self._prepared(self.preparation, samples)
        return embed(self.network, x, normalize=self.normalized, flip=self.recipe.evaluation.flip)

    def forward(self, samples: Tensor) -> Tensor:
        """Embed images, views or point clouds.

        Args:
            samples: images (n, c, h, w) or views (n, v, c, h, w) as the recipe has them, uint8 in 0 .. 255 or
                floating point in 0 .. 1, normalised in here; or, for a recipe that samples points, clouds
                (n, p, 3), centred, in the unit sphere, z up

        Returns:
            Embeddings, shape (n, d), L2-normalised where the loss normalises.

        Raises:
            ValueError: floating point pixels outside 0 .. 1
        """
        return self.outputs(samples).embeddings


def prepared_pixels(preparation: Preparation, samples: Tensor) -> Tensor:
    """Give images, views or clouds as a network takes them."""
    if samples.ndim == 3:  # clouds
        return preparation.finish(preparation.project(samples.float()))
    return preparation.finish(_pixels(samples))


def _pixels(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images.float()
    low, high = (float(v) for v in images.aminmax()) if images.numel() else (0.0, 1.0)
    if low < 0 or high > 1:
        raise ValueError(
            f"float images must lie in 0 .. 1, got {low:.4g} .. {high:.4g}; "
            "the normalisation of the run is applied here"
        )
    return images.float() * 255


def load_run(
    path: str | Path, device: str | torch.device = "cpu", *, checkpoint: Literal["last", "best"] = "last"
) -> TrainedEmbedder:
    """Load the trained embedder of a run folder.

    Args:
        path: run folder of ``batchot train``
        device: where to put it
        checkpoint: "last", whose measures are in metrics.json, or "best", the epoch of the highest test mAP

    Returns:
        A module from images (n, c, h, w) or views (n, v, c, h, w), uint8 or floats in 0 .. 1, or from clouds
        (n, p, 3), whichever the run was trained on, to embeddings (n, d), with the attributes ``recipe``,
        ``classes``, ``metrics`` and ``embedding_dim``.

    Raises:
        RunError: there is no run, or its checkpoint is damaged or of another network

    Example::

        embedder = batchot.load_run("runs/mnist")
        with torch.no_grad():
            embeddings = embedder(images)  # (n, 256)
    """
    run = read_saved(path, checkpoint)
    recipe, saved = load_recipe(str(run.folder.config)), run.content
    try:
        classes, shape = tuple(saved["classes"]), tuple(saved["input_shape"])
        mean, std = tuple(saved["mean"]), tuple(saved["std"])
        normalized = bool(saved["normalized"])
    except KeyError as error:
        raise RunError(f"{run.file} is not a checkpoint of batchot: it has no {error}") from error
    network = Network(recipe, shape, len(classes), load_pretrained=False)
    run.load_into(network)
    preparation = Preparation(Normalization(mean, std) if mean else None, projection=projection_of(recipe))
    return TrainedEmbedder(network, recipe, preparation, classes, run.metrics(), normalized).to(device)
