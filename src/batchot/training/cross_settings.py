"""Cross-modal recipes from YAML files and overrides, checked as those of one network are (imports no torch)."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from batchot.shapes.extra import extras_named
from batchot.training.cross_recipe import CrossModalRecipe, TogetherSettings
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.settings import (
    allowed,
    build,
    change,
    check_effect,
    flat,
    forget_options,
    full_name,
    help_lines,
    lenient,
    override_value,
    setting_types,
    suggestion,
    to_mapping,
)

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

TOWER_SECTIONS = ("data", "shapes", "augment", "model", "batch")
_ALWAYS_BALANCED = ("batch.sampler",)  # batches hold the same classes in all towers


@cache
def together_types() -> dict[str, Any]:
    """Give the type of every setting of the section ``together``.

    >>> together_types()["negatives"]
    <class 'int'>
    """
    return dict(typing.get_type_hints(TogetherSettings))


def make_cross_recipe(
    raw: dict[str, Any], source: str, overrides: Sequence[tuple[str, str]]
) -> CrossModalRecipe:
    """Make a cross-modal recipe: what stands outside ``towers`` and ``together`` holds for every tower.

    Args:
        raw: content of the YAML file
        source: what it is called in messages
        overrides: pairs of a setting's name and its value as text; TOWER.SECTION.SETTING is for one tower,
            SECTION.SETTING for all

    Returns:
        The checked recipe.

    Raises:
        RecipeError: a name is unknown or a value is not allowed
    """
    raw = dict(raw)
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
            lenient(
                common | values | for_all | changes[tower] | {"name": tower, "batch.sampler": "balanced"}
            ),
            source if not overrides else "command line",
        )
        for tower, values in own.items()
    }
    for tower, changed in changes.items():
        check_effect(changed, made[tower])
    _check_common(for_all, made)
    try:
        return CrossModalRecipe(name, made, _together(together, source), str(about))
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


@cache
def _parser() -> ArgumentParser:
    with extras_named():
        from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TogetherSettings, None)
    return parser


def _together(values: dict[str, Any], source: str) -> TogetherSettings:
    from argparse import ArgumentError

    types = together_types()
    for key in values:
        if key not in types:
            raise RecipeError(f"{source}: unknown setting together.{key}{suggestion(key, list(types))}")
    for key, value in values.items():
        try:
            _parser().parse_object({key: value})
        except (ArgumentError, TypeError) as error:
            raise RecipeError(
                f"{source}: together.{key}: {value!r} is not allowed; allowed: {_allowed(key)}"
            ) from error
    checked = _parser().parse_object(values)
    return TogetherSettings(**{key: checked[key] for key in types})


def _allowed(key: str) -> str:
    if key == "rename":
        return "a mapping such as {sketch: {dog: Quadruped}}"
    if key in ("within", "across"):
        return "a mapping from name to number such as {sketch: 0.5}"
    return allowed(together_types()[key])


def cross_mapping(recipe: CrossModalRecipe) -> dict[str, Any]:
    """Give a cross-modal recipe as nested values, as its YAML file has them."""
    towers = {name: to_mapping(tower) for name, tower in recipe.towers.items()}
    common = {k: v for k, v in towers[recipe.query].items() if k not in (*TOWER_SECTIONS, "name", "about")}
    return {
        "name": recipe.name,
        "about": recipe.about,
        **common,
        "towers": {
            name: {section: values[section] for section in TOWER_SECTIONS} for name, values in towers.items()
        },
        "together": dataclasses.asdict(recipe.together),
    }


def cross_settings_help(recipe: CrossModalRecipe) -> str:
    """Describe all settings of a cross-modal recipe with its values."""
    from docstring_parser import parse

    first = recipe.towers[recipe.query]
    sections = [
        s for s in dict.fromkeys(n.rpartition(".")[0] for n in setting_types()) if s not in TOWER_SECTIONS
    ]
    lines = help_lines(first, sections)
    documented = parse(TogetherSettings.__doc__ or "").params
    texts = {p.arg_name: " ".join((p.description or "").split()) for p in documented}
    lines += [
        f"  together.{key} = {getattr(recipe.together, key)} ({_allowed(key)})\n      {texts[key]}"
        for key in together_types()
    ]
    for name, tower in recipe.towers.items():
        lines += help_lines(tower, TOWER_SECTIONS, f"{name}.")
    return "\n".join(lines)
