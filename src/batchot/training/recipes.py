"""Recipes by name, from files and as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchot.errors import RunError
from batchot.files import RunFolder
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.settings import (
    TOWER_SECTIONS,
    as_yaml,
    build,
    change,
    check_effect,
    flat,
    forget_options,
    full_name,
    leaves,
    lenient,
    make_together,
    override_value,
    plain_mapping,
    read_recipe,
    setting_types,
    suggestion,
    together_types,
)

_ALWAYS_BALANCED = ("batch.sampler",)  # batches hold the same classes in all towers


def load_recipe(recipe: str, overrides: Sequence[tuple[str, str]] = ()) -> Recipe:
    """Read a recipe of the package or of a file, change settings, and check everything.

    Args:
        recipe: name of a recipe of the package, or path of a YAML file
        overrides: pairs of a setting's dotted name and its value as text, such as ("loss.lam", "3"); those of one of
            several towers begin with its name, such as ("sketch.model.backbone", "resnet10-w8")

    Returns:
        The checked recipe.

    Raises:
        RecipeError: a name is unknown (with the closest one) or a value is not allowed (with those that are)

    >>> load_recipe("mnist", [("loss.lam", "3"), ("epochs", "1")]).loss.lam
    3.0
    """
    source, raw = read_recipe(recipe)
    raw.pop("run", None)  # what config.yaml of a run says about the run itself
    return make_recipe(raw, source, overrides)


def make_recipe(raw: dict[str, Any], source: str, overrides: Sequence[tuple[str, str]] = ()) -> Recipe:
    """Make a recipe of nested values, as `to_mapping` gives them.

    Args:
        raw: nested values; what stands outside ``towers`` and ``together`` holds for every tower
        source: what they are called in messages
        overrides: of settings, see `load_recipe`
    """
    if "towers" in raw:
        return _with_towers(dict(raw), source, overrides)
    values = flat(raw, source)
    changed: dict[str, Any] = {}
    for name, text in overrides:
        change(changed, values, name, text)
    forget_options(changed, values)
    made = build(lenient(values | changed), "command line" if changed else source)
    check_effect(changed, made)
    return made


def _with_towers(raw: dict[str, Any], source: str, overrides: Sequence[tuple[str, str]]) -> Recipe:
    towers, together = raw.pop("towers"), raw.pop("together", {})
    name, about = raw.pop("name", None), raw.pop("about", "")
    if not isinstance(name, str):
        raise RecipeError(f"{source}: the setting name is missing")
    if not isinstance(towers, dict) or not all(isinstance(t, dict) for t in towers.values()):
        raise RecipeError(f"{source}: towers must hold a group of settings for each tower, not {towers!r}")
    if not isinstance(together, dict):
        raise RecipeError(f"{source}: together must hold settings, not {together!r}")
    common = flat(raw, source)
    own = {str(tower): _own(values, source, str(tower)) for tower, values in towers.items()}
    changes: dict[str, dict[str, Any]] = {tower: {} for tower in own}
    for_all: dict[str, Any] = {}
    for setting, text in overrides:
        head, _, rest = setting.partition(".")
        if head in own and rest:
            _of_tower(full_name(rest), setting)
            change(changes[head], common | own[head], rest, text)
        elif head == "together":
            _change_together(together, setting, rest, text)
        else:
            change(for_all, common, setting, text)
    forget_options(for_all, common)
    made = {
        tower: build(
            lenient(common | values | for_all | changes[tower] | {"name": name, "batch.sampler": "balanced"}),
            source if not overrides else "command line",
        )
        for tower, values in own.items()
    }
    for tower, changed in changes.items():
        check_effect(changed, made[tower])
    _check_common(for_all, made)
    if len(made) < 2:
        raise RecipeError(
            f"{source}: towers: {len(made)} is too few; there are two or more, or the settings of the only one stand "
            "outside of towers"
        )
    (first, *_), parts = made.values(), {tower: recipe.towers[recipe.query] for tower, recipe in made.items()}
    try:
        settings = make_together(together, source)
        return dataclasses.replace(first, towers=parts, together=settings, about=str(about))
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error


def _own(values: dict[str, Any], source: str, tower: str) -> dict[str, Any]:
    own = flat(values, f"{source}: tower {tower}")
    for key in own:
        _of_tower(key, f"{source}: {tower}.{key}")
    return own


def _of_tower(key: str, shown: str) -> None:
    if key in setting_types() and key.partition(".")[0] not in TOWER_SECTIONS:
        raise RecipeError(
            f"{shown}: this is the same for all towers; a tower of its own has {', '.join(TOWER_SECTIONS)}"
        )


def _check_common(changed: dict[str, Any], made: dict[str, Recipe]) -> None:
    """Refuse what no tower looks at."""
    if any(key in changed for key in _ALWAYS_BALANCED):
        raise RecipeError("batch.sampler has no effect here: cross-modal batches are always balanced")
    for key, value in changed.items():
        errors = []
        for recipe in made.values():
            try:
                check_effect({key: value}, recipe)
            except RecipeError as error:
                errors.append(error)
        if len(errors) == len(made):
            raise errors[0]


def _change_together(together: dict[str, Any], shown: str, key: str, text: str) -> None:
    first, _, inner = key.partition(".")
    first = first.replace("-", "_")
    types = together_types()
    if first not in types:
        raise RecipeError(f"unknown setting {shown!r}{suggestion(first, list(types))}")
    if not inner:
        together[first] = override_value(text)
    elif first in ("within", "across"):
        together[first] = {**together.get(first, {}), inner: override_value(text)}
    elif first == "rename" and inner.count(".") == 1:
        tower, old = inner.split(".")
        renamed = together.get("rename", {})
        together["rename"] = {**renamed, tower: {**renamed.get(tower, {}), old: text}}
    else:
        raise RecipeError(
            f"unknown setting {shown!r}; together.rename is set as together.rename.TOWER.OLD=NEW"
        )


def to_mapping(recipe: Recipe) -> dict[str, Any]:
    """Give a recipe as nested plain values, as YAML writes them (tuples become lists).

    >>> to_mapping(load_recipe("digits"))["data"]["name"]
    'digits'
    """
    values = plain_mapping(recipe)
    if not recipe.several:
        return values
    common = {k: v for k, v in values.items() if k not in (*TOWER_SECTIONS, "name", "about")}
    return {
        "name": recipe.name,
        "about": recipe.about,
        **common,
        "towers": as_yaml({name: dataclasses.asdict(tower) for name, tower in recipe.towers.items()}),
        "together": as_yaml(dataclasses.asdict(recipe.together)),
    }


def head_recipe(recipe: Recipe) -> Recipe:
    """Give the recipe of the run of the head, which comes before the whole network is trained.

    Raises:
        RecipeError: `first` names no setting, or its value is not allowed

    >>> from dataclasses import replace
    >>> whole = replace(load_recipe("digits"), first={"epochs": 2})
    >>> head_recipe(whole).epochs
    2
    """
    values = to_mapping(recipe)
    towers = list(values.get("towers", {"": values}).values())
    for name, value in values.pop("first").items():
        setting = full_name(str(name))
        if setting not in setting_types() or setting in ("first", "data.name", "model.train"):
            known = list(setting_types())
            raise RecipeError(f"first: {setting!r} cannot be set there{suggestion(setting, known)}")
        section, _, inner = setting.rpartition(".")
        for place in towers if section in TOWER_SECTIONS else [values]:
            (place[section] if section else place)[inner] = value
    for tower in towers:
        if tower["model"]["train"] != "all":
            tower["model"]["train"] = "head"
    return make_recipe(values, "first")


def recipe_of(path: str | Path) -> Recipe:
    """Give the recipe of a run folder."""
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        raise RunError(f"{folder.root} is no run folder: it has no config.yaml")
    return load_recipe(str(folder.config))


def first_difference(a: Recipe, b: Recipe) -> tuple[str, Any, Any] | None:
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
