"""Recipes by name, from files and as values, with one network or with towers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchot.errors import RunError
from batchot.files import RunFolder
from batchot.training.cross_recipe import CrossModalRecipe, cross_mapping, make_cross_recipe
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.settings import (
    as_yaml,
    build,
    flat,
    full_name,
    leaves,
    make_recipe,
    plain_mapping,
    read_recipe,
    setting_types,
    suggestion,
)


def load_recipe(recipe: str, overrides: Sequence[tuple[str, str]] = ()) -> Recipe:
    """Read a recipe of the package or of a file, change settings, and check everything.

    Args:
        recipe: name of a recipe of the package, or path of a YAML file
        overrides: pairs of a setting's dotted name and its value as text, such as ("loss.lam", "3")

    Returns:
        The checked recipe.

    Raises:
        RecipeError: a name is unknown (with the closest one) or a value is not allowed (with those that are)

    >>> load_recipe("mnist", [("loss.lam", "3"), ("epochs", "1")]).loss.lam
    3.0
    """
    made = load_any_recipe(recipe, overrides)
    if not isinstance(made, Recipe):
        raise RecipeError(
            f"{recipe} is a cross-modal recipe, with towers; here one of a single network is needed"
        )
    return made


def load_any_recipe(recipe: str, overrides: Sequence[tuple[str, str]] = ()) -> Recipe | CrossModalRecipe:
    """Read a recipe as `load_recipe` does, of one network or with towers.

    Args:
        recipe: name of a recipe of the package, or path of a YAML file
        overrides: pairs of a setting's dotted name and its value as text; those of a tower begin with its name

    Returns:
        The checked recipe.

    Raises:
        RecipeError: a name is unknown or a value is not allowed
    """
    source, raw = read_recipe(recipe)
    raw.pop("run", None)  # what config.yaml of a run says about the run itself
    return recipe_of_values(raw, source, overrides)


def recipe_of_values(
    raw: dict[str, Any], source: str, overrides: Sequence[tuple[str, str]] = ()
) -> Recipe | CrossModalRecipe:
    """Make a recipe of nested values, as `to_mapping` gives them; see `load_any_recipe`.

    Args:
        raw: nested values
        source: what they are called in messages
        overrides: of settings
    """
    if "towers" in raw:
        return make_cross_recipe(raw, source, overrides)
    return make_recipe(raw, source, overrides)


def to_mapping(recipe: Recipe | CrossModalRecipe) -> dict[str, Any]:
    """Give a recipe as nested plain values, as YAML writes them (tuples become lists).

    >>> to_mapping(load_recipe("digits"))["data"]["name"]
    'digits'
    """
    return plain_mapping(recipe) if isinstance(recipe, Recipe) else as_yaml(cross_mapping(recipe))


def head_recipe(recipe: Recipe | CrossModalRecipe) -> Recipe | CrossModalRecipe:
    """Give the recipe of the run of the head, which comes before the whole network is trained.

    Raises:
        RecipeError: `first` names no setting, or its value is not allowed

    >>> from dataclasses import replace
    >>> whole = replace(load_recipe("digits"), first={"epochs": 2})
    >>> head_recipe(whole).epochs
    2
    """
    values = to_mapping(recipe)
    first = {full_name(str(name)): value for name, value in values.pop("first").items()}
    for name in first:
        if name not in setting_types() or name in ("first", "data.name", "model.train"):
            raise RecipeError(f"first: {name!r} cannot be set there{suggestion(name, list(setting_types()))}")
    if isinstance(recipe, Recipe):
        of_head = {} if recipe.model.train == "all" else {"model.train": "head"}
        return build(flat(values, "first") | first | of_head, "first")
    for tower in values["towers"].values():
        if tower["model"]["train"] != "all":
            tower["model"]["train"] = "head"
    return make_cross_recipe(values, "first", [(name, str(value)) for name, value in first.items()])


def recipe_of(path: str | Path) -> Recipe | CrossModalRecipe:
    """Give the recipe of a run folder."""
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        raise RunError(f"{folder.root} is no run folder: it has no config.yaml")
    return load_any_recipe(str(folder.config))


def first_difference(
    a: Recipe | CrossModalRecipe, b: Recipe | CrossModalRecipe
) -> tuple[str, Any, Any] | None:
    """Give the first setting in which two recipes differ, with both values.

    >>> first_difference(load_recipe("mnist"), load_recipe("mnist", [("loss.lam", "3")]))[0]
    'loss.lam'
    """
    left, right = leaves(to_mapping(a)), leaves(to_mapping(b))
    for key in [*left, *(key for key in right if key not in left)]:
        here, there = left.get(key, "not there"), right.get(key, "not there")
        if here != there:
            return key, here, there
    return None
