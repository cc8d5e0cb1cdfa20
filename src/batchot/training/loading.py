"""Load a finished run of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from batchot.errors import RunError
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.files import RunFolder
from batchot.training.recipe import Recipe
from batchot.training.recipes import load_any_recipe

if TYPE_CHECKING:
    from batchot.training.cross_trained import CrossModalEmbedder
    from batchot.training.trained import TrainedEmbedder


def recipe_of(path: str | Path) -> Recipe | CrossModalRecipe:
    """Give the recipe of a run folder."""
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        raise RunError(f"{folder.root} is no run folder: it has no config.yaml")
    return load_any_recipe(str(folder.config))


def load_run(
    path: str | Path, device: str | torch.device = "cpu", *, checkpoint: Literal["last", "best"] = "last"
) -> TrainedEmbedder | CrossModalEmbedder:
    """Load the trained network of a run folder, or its towers.

    Args:
        path: run folder of ``batchot train``
        device: where to put it
        checkpoint: "last", whose measures are in metrics.json, or "best", the epoch of the highest test mAP

    Returns:
        A module from images (n, c, h, w) or views (n, v, c, h, w), uint8 or floats in 0 .. 1, or from clouds
        (n, p, 3), whichever the run was trained on, to embeddings (n, d); that of a cross-modal run takes the name of
        the tower first. Attributes: ``recipe``, ``classes``, ``metrics`` and ``embedding_dim``.

    Raises:
        RunError: there is no run, or its checkpoint is damaged or of another network

    Example::

        embedder = batchot.load_run("runs/mnist")
        with torch.no_grad():
            embeddings = embedder(images)  # (n, 256)
        towers = batchot.load_run("runs/sketches")
        sketches, shapes = towers("sketch", images), towers("shape", views)
    """
    from batchot.training import cross_trained, trained

    if isinstance(recipe_of(path), Recipe):
        return trained.load_run(path, device, checkpoint=checkpoint)
    return cross_trained.load_cross_run(path, device, checkpoint=checkpoint)
