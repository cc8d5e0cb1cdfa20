"""Training by recipes, and the runs that come of it.

The names below are loaded when they are first used: reading a recipe needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchot.errors import RunError
    from batchot.training.cross_recipe import CrossModalRecipe
    from batchot.training.cross_run import TrainedCrossRun, train_cross
    from batchot.training.cross_trained import CrossModalEmbedder
    from batchot.training.loading import load_run
    from batchot.training.recipe import Recipe, RecipeError
    from batchot.training.recipes import load_any_recipe, load_recipe
    from batchot.training.run import TrainedRun, train
    from batchot.training.settings import recipe_names
    from batchot.training.trained import TrainedEmbedder

_HOMES = {
    "CrossModalEmbedder": "cross_trained",
    "CrossModalRecipe": "cross_recipe",
    "Recipe": "recipe",
    "RecipeError": "recipe",
    "RunError": "files",
    "TrainedCrossRun": "cross_run",
    "TrainedEmbedder": "trained",
    "TrainedRun": "run",
    "load_any_recipe": "recipes",
    "load_recipe": "recipes",
    "load_run": "loading",
    "recipe_names": "settings",
    "train": "run",
    "train_cross": "cross_run",
}

__all__ = [
    "CrossModalEmbedder",
    "CrossModalRecipe",
    "Recipe",
    "RecipeError",
    "RunError",
    "TrainedCrossRun",
    "TrainedEmbedder",
    "TrainedRun",
    "load_any_recipe",
    "load_recipe",
    "load_run",
    "recipe_names",
    "train",
    "train_cross",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from batchot.errors import extras_named

        with extras_named():
            return getattr(import_module(f"batchot.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'batchot.training' has no attribute {name!r}")
