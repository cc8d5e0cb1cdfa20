"""``batchot recipes``: which there are."""

from __future__ import annotations

from batchot.commands.common import Parser
from batchot.training.recipes import load_recipe
from batchot.training.settings import recipe_names


def recipes(argv: list[str]) -> int:
    Parser(prog="batchot recipes", description="List the recipes of the package.").parse_args(argv)
    names = recipe_names()
    width = max(map(len, names))
    for name in names:
        recipe = load_recipe(name)
        print(f"{name:{width}}  {recipe.epochs:3d} epochs  {recipe.about}")
    print("\nbatchot train RECIPE --help lists the settings; a YAML file of your own is a recipe too.")
    return 0
