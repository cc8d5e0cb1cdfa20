"""Training by recipes, and the runs that come of it.

The names below are loaded when they are first used: reading a recipe needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchot.errors import lazily

if TYPE_CHECKING:
    from batchot.errors import RunError
    from batchot.towers.embedder import Embedder
    from batchot.towers.saved import load_run
    from batchot.training.recipe import Recipe, RecipeError
    from batchot.training.recipes import load_recipe
    from batchot.training.run import TrainedRun, train
    from batchot.training.settings import recipe_names

__getattr__, __dir__ = lazily(
    __name__,
    {
        "errors": "RunError",
        "towers.embedder": "Embedder",
        "towers.saved": "load_run",
        "training.recipe": "Recipe RecipeError",
        "training.recipes": "load_recipe",
        "training.run": "TrainedRun train",
        "training.settings": "recipe_names",
    },
)

__all__ = [
    "Embedder", "Recipe", "RecipeError", "RunError", "TrainedRun", "load_recipe", "load_run", "recipe_names",
    "train",
]  # fmt: skip
