"""Recipes by name, from files and as values; checked before anything else happens (imports no torch)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from batchot.errors import extras_named
from batchot.files import RunFolder
from batchot.towers.spec import ONLY
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.settings import (
    TOWER_SECTIONS,
    allowed,
    as_yaml,
    check_effect,
    full_name,
    is_setting,
    leaves,
    plain_mapping,
    recipe_names,
    sections,
    setting_types,
    split_entry,
    suggestion,
)

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


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
    source, raw = _read(recipe)
    raw.pop("run", None)  # what config.yaml of a run says about the run itself
    return make_recipe(raw, source, overrides)


def _read(recipe: str) -> tuple[str, dict[str, Any]]:
    with extras_named():
        import yaml

    path, names = Path(recipe), recipe_names()
    if recipe in names:
        source = f"recipe {recipe}"
        text = (resources.files("batchot") / "recipes" / f"{recipe}.yaml").read_text()
    elif path.suffix in (".yaml", ".yml") or "/" in recipe:
        if not path.is_file():
            raise RecipeError(
                f"no recipe file {path}; give the path of a YAML file or one of {', '.join(names)}"
            )
        source, text = str(path), path.read_text()
    else:
        raise RecipeError(
            f"unknown recipe {recipe!r}; there are {', '.join(names)}{suggestion(recipe, names)}\n"
            "A recipe of your own is given as the path of its YAML file."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{source} must hold settings such as 'epochs: 5', not {values!r}")
    return source, values


def make_recipe(raw: Mapping[str, Any], source: str, overrides: Sequence[tuple[str, str]] = ()) -> Recipe:
    """Make a recipe of nested values; what stands outside ``towers`` holds for every tower."""
    towers = raw.get("towers", {ONLY: {}})
    if not isinstance(towers, dict) or not towers or not all(isinstance(t, dict) for t in towers.values()):
        raise RecipeError(f"{source}: towers must hold a group of settings for each tower, not {towers!r}")
    common = _flat({key: value for key, value in raw.items() if key != "towers"}, source)
    own = {str(tower): _flat(values, f"{source}: tower {tower}") for tower, values in towers.items()}
    for tower, key in ((tower, key) for tower, values in own.items() for key in values):
        _check_of_tower(key, f"{source}: {tower}.{key}")
    for_all: dict[str, Any] = {}
    changes: dict[str, dict[str, Any]] = {tower: {} for tower in own}
    for setting, text in overrides:
        tower, _, inner = setting.partition(".")
        if tower in own and (
            tower not in sections() or (is_setting(full_name(inner)) and _of_towers({full_name(inner): 0}))
        ):
            _check_of_tower(full_name(inner), setting)
            _change(changes[tower], common | own[tower], inner, text)
        else:
            _change(for_all, common, setting, text)
    if for_all.get("loss.name", common.get("loss.name")) != common.get("loss.name"):
        for_all = {"loss.options": {}, **for_all}  # those of another loss are not handed on
    source = "command line" if overrides else source
    made = _build(common | for_all, {t: own[t] | _of_towers(for_all) | changes[t] for t in own}, source)
    parts = list(made.parts.values())
    check_effect(for_all, parts)
    for changed, part in zip(changes.values(), parts, strict=True):
        check_effect(changed, [part])
    if made.several and any("batch.sampler" in changed for changed in (for_all, *changes.values())):
        raise RecipeError("batch.sampler has no effect here: cross-modal batches are always balanced")
    if not made.several and (named := [key for key in common | for_all if key.startswith("together.")]):
        raise RecipeError(f"{named[0]} has no effect here: it applies to recipes of several towers")
    if made.loss.of_transport and made.loss.options:
        raise RecipeError(
            f"loss.options belongs to the losses of pytorch-metric-learning, not to loss={made.loss.name}"
        )
    return made


def _flat(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Give nested settings by their dotted names, all of them known."""
    for section, value in values.items():
        if section in sections() and not isinstance(value, dict):
            raise RecipeError(
                f"{source}: {section} must hold settings, such as '{section}: {{...}}', not {value!r}"
            )
    flat = leaves(values, known=True)
    for key in flat:
        if key not in setting_types():
            raise RecipeError(f"{source}: unknown setting {key!r}{suggestion(key, list(setting_types()))}")
    return flat


def _of_towers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key.partition(".")[0] in TOWER_SECTIONS}


def _check_of_tower(key: str, shown: str) -> None:
    if split_entry(key)[0] in setting_types() and not _of_towers({key: None}):
        raise RecipeError(
            f"{shown}: this is the same for all towers; a tower of its own has {', '.join(TOWER_SECTIONS)}"
        )


def _change(changed: dict[str, Any], values: Mapping[str, Any], name: str, text: str) -> None:
    """Note an override of a setting, or of an entry of one that is a mapping."""
    setting = full_name(name)
    if not is_setting(setting):
        raise RecipeError(f"unknown setting {name!r}{suggestion(setting, list(setting_types()))}")
    key, entry = split_entry(setting)
    kind = setting_types()[key]
    if entry:
        inherited = changed.get(key, values.get(key, {}))
        if get_origin(get_args(kind)[1]) is dict:  # such as together.rename.TOWER.OLD
            outer, _, old = entry.partition(".")
            changed[key] = {**inherited, outer: {**inherited.get(outer, {}), old: text}}
        else:
            changed[key] = {**inherited, entry: _value(text)}
    else:
        changed[key] = text if kind is str else _value(text)


def _value(text: str) -> Any:
    """Read a value as YAML does; what is not YAML is text."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _build(common: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]], source: str) -> Recipe:
    """Type-check settings by their dotted names, those of all and those of each tower, and make the recipe."""
    from argparse import ArgumentError

    of_towers = _of_towers(common)
    if len(own) > 1:
        of_towers["batch.sampler"] = "balanced"
        own = {tower: {**values, "batch.sampler": "balanced"} for tower, values in own.items()}
    of_run = _checked({key: value for key, value in common.items() if key not in of_towers}, source)
    towers = {tower: _checked(of_towers | dict(values), source) for tower, values in own.items()}
    missing = [] if "name" in of_run else ["name"]
    missing += [
        f"{t}.data.name" if len(own) > 1 else "data.name" for t in own if "data.name" not in towers[t]
    ]
    if missing:
        raise RecipeError(f"{source}: the setting {missing[0]} is missing")
    parser = _parser()
    try:
        # the only tower has one name in stored runs, whatever the file calls it
        nested = {tower if len(own) > 1 else ONLY: _nested(values) for tower, values in towers.items()}
        checked = parser.parse_object(_nested(of_run) | {"towers": nested})
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
        return Recipe(**{name: value for name, value in instantiate(checked).items() if value is not None})
    except (RecipeError, ArgumentError, TypeError) as error:
        raise RecipeError(f"{source}: {error}") from error


@cache
def _parser() -> ArgumentParser:
    with extras_named():
        from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe, None)
    return parser


def _checked(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Refuse values of a wrong type, with what is allowed; YAML's 32 stands for the text "32" where that is."""
    from argparse import ArgumentError

    checked = dict(values)
    for key, value in values.items():
        kind = setting_types()[key]
        texts = get_args(kind) if get_origin(kind) is Literal else ()
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in texts:
            checked[key] = value = str(value)
        try:
            if value is None and type(None) not in get_args(kind):
                raise TypeError
            _parser_of(key).parse_object({"value": value})
        except (ArgumentError, TypeError) as error:
            raise RecipeError(
                f"{source}: {key}: {value!r} is not allowed; allowed: {allowed(kind)}"
            ) from error
    return checked


@cache
def _parser_of(key: str) -> ArgumentParser:
    with extras_named():
        from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=setting_types()[key])
    return parser


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        section, _, inner = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[inner] = value
    return nested


def to_mapping(recipe: Recipe) -> dict[str, Any]:
    """Give a recipe as nested plain values, as YAML writes them (tuples become lists)."""
    values = plain_mapping(recipe)
    together = values.pop("together")
    if not recipe.several:
        return values
    common = {k: v for k, v in values.items() if k not in (*TOWER_SECTIONS, "name", "about")}
    return {
        "name": recipe.name,
        "about": recipe.about,
        **common,
        "towers": as_yaml({name: dataclasses.asdict(tower) for name, tower in recipe.towers.items()}),
        "together": together,
    }


def head_recipe(recipe: Recipe) -> Recipe:
    """Give the recipe of the run of the head, which comes before the whole network is trained."""
    values = to_mapping(recipe)
    towers = list(values.get("towers", {"": values}).values())
    for name, value in values.pop("first").items():
        setting = full_name(str(name))
        if setting not in setting_types() or setting in ("first", "data.name", "model.train"):
            known = list(setting_types())
            raise RecipeError(f"first: {setting!r} cannot be set there{suggestion(setting, known)}")
        section, _, inner = setting.rpartition(".")
        for place in towers if section in TOWER_SECTIONS else [values]:
            (place.setdefault(section, {}) if section else place)[inner] = value
    for tower in towers:
        if tower["model"]["train"] != "all":
            tower["model"]["train"] = "head"
    return make_recipe(values, "first")


def recipe_of(path: str | Path) -> Recipe:
    folder = RunFolder(Path(path))
    folder.check()
    return load_recipe(str(folder.config))


def first_difference(a: Recipe, b: Recipe) -> tuple[str, Any, Any] | None:
    """Give the first setting in which two recipes differ, with both values."""
    left, right = leaves(to_mapping(a)), leaves(to_mapping(b))
    for key in [*left, *(key for key in right if key not in left)]:
        here, there = left.get(key, "not there"), right.get(key, "not there")
        if here != there:
            return key, here, there
    return None
