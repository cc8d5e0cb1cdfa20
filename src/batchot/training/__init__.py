"""Training by recipes, and the runs that come of it.

The names below are loaded when they are first used: reading a recipe needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchot.errors import RunError
    from batchot.towers.embedder import Embedder
    from batchot.towers.saved import load_run
    from batchot.training.recipe import Recipe, RecipeError
    from batchot.training.recipes import load_recipe
    from batchot.training.run import TrainedRun, train
    from batchot.training.settings import recipe_names

_HOMES = {
    "Embedder": "towers.embedder",
    "Recipe": "training.recipe",
    "RecipeError": "training.recipe",
    "RunError": "errors",
    "TrainedRun": "training.run",
    "load_recipe": "training.recipes",
    "load_run": "towers.saved",
    "recipe_names": "training.settings",
    "train": "training.run",
}

__all__ = [
    "Embedder",
    "Recipe",
    "RecipeError",
    "RunError",
    "TrainedRun",
    "load_recipe",
    "load_run",
    "recipe_names",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from batchot.errors import extras_named

        with extras_named():
            return getattr(import_module(f"batchot.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'batchot.training' has no attribute {name!r}")
