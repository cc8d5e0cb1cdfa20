"""Training by recipes, and the runs that come of it.

The names below are loaded when they are first used: reading a recipe needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchot.training.files import RunError
    from batchot.training.recipe import Recipe, RecipeError
    from batchot.training.run import TrainedRun, train
    from batchot.training.settings import load_recipe, recipe_names
    from batchot.training.trained import TrainedEmbedder, load_run

_HOMES = {
    "Recipe": "recipe",
    "RecipeError": "recipe",
    "RunError": "files",
    "TrainedEmbedder": "trained",
    "TrainedRun": "run",
    "load_recipe": "settings",
    "load_run": "trained",
    "recipe_names": "settings",
    "train": "run",
}

__all__ = [
    "Recipe",
    "RecipeError",
    "RunError",
    "TrainedEmbedder",
    "TrainedRun",
    "load_recipe",
    "load_run",
    "recipe_names",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"batchot.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'batchot.training' has no attribute {name!r}")
