"""The settings of a recipe by their dotted names: types, what each admits, its text, and who looks at it (no torch)."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, get_args, get_origin

from batchot.towers.spec import ONLY
from batchot.training.recipe import DataSettings, Recipe, RecipeError, TowerRecipe, Where

TOWER_SECTIONS = tuple(section.name for section in dataclasses.fields(TowerRecipe))
_ORDER = (
    *("name", "data", "about", "epochs", "max_steps", "seed", "precision", "channels_last"),
    *("checkpoint_minutes", "first"),
    *("shapes", "augment", "model", "loss", "batch", "optim", "evaluation", "together"),
)


def recipe_names() -> tuple[str, ...]:
    folder = resources.files("batchot") / "recipes"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


@cache
def _hints() -> dict[str, Any]:
    """Types of the groups of settings and of those that are in none, in their order."""
    hints = typing.get_type_hints(TowerRecipe) | typing.get_type_hints(Recipe)
    return {name: hints[name] for name in _ORDER}


@cache
def sections() -> dict[str, Any]:
    return {name: hint for name, hint in _hints().items() if dataclasses.is_dataclass(hint)}


@cache
def setting_types() -> dict[str, Any]:
    types: dict[str, Any] = {}
    for name, hint in _hints().items():
        inner = typing.get_type_hints(hint) if name in sections() else {}
        types |= {f"{name}.{key}": kind for key, kind in inner.items()} or {name: hint}
    return types


@cache
def _places() -> dict[str, Where]:
    """Which recipes look at a setting, of those that not all look at."""
    groups = [("", Recipe), *((f"{name}.", hint) for name, hint in sections().items())]
    found = (
        (prefix + f.name, f.metadata.get("where")) for prefix, g in groups for f in dataclasses.fields(g)
    )
    return {name: where for name, where in found if where is not None}


def full_name(setting: str) -> str:
    """Give the dotted name of a setting, where dashes and the short form of a name are allowed."""
    key, entry = split_entry(setting)
    key = key.replace("-", "_")
    if entry and key in ("loss.options", "first"):
        entry = full_name(entry)
    return f"{key}.{entry}" if entry else f"{key}.name" if key in ("loss", "data", "optim") else key


def split_entry(setting: str) -> tuple[str, str]:
    """Divide the name of an entry of a setting that is a mapping; no entry where it is none."""
    for key, kind in setting_types().items():
        if get_origin(kind) is dict and setting.replace("-", "_").startswith(f"{key}."):
            return key, setting[len(key) + 1 :]
    return setting, ""


def is_setting(setting: str) -> bool:
    key, entry = split_entry(setting)
    if key == "first" and entry:
        return full_name(entry) in setting_types()
    nested = entry and get_origin(get_args(setting_types()[key])[1]) is dict  # SOURCE.OLD
    return (
        key in setting_types()
        and (not nested or "." in entry)
        and not (key == "loss.options" and "." in entry)
    )


def allowed(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if kind in words:
        return words[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Literal:
        return ", ".join(str(a) for a in args)
    if origin is tuple and get_origin(args[0]) is typing.Literal:
        return f"a list such as [{args[0].__args__[0]}] of {allowed(args[0])}"
    if origin is tuple:
        count = "" if Ellipsis in args else f"{len(args)} "
        return f"a list of {count}whole numbers such as [64,32]"
    if origin is dict and get_origin(args[1]) is dict:
        return "a mapping such as {quickdraw: {mug: beer-mug}}"
    if origin is dict and args[1] is not float:
        return "a mapping from setting to value such as {epochs: 10, optim.lr: 0.001}"
    if origin is dict:
        return "a mapping from name to number such as {neg_margin: 0.5}"
    return " or ".join(allowed(a) for a in args)


def suggestion(word: str, known: Sequence[str]) -> str:
    """Give the end of a message about an unknown word: the closest known one, if any is close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:  # "lam" for "loss.lam"
        last = {k.rsplit(".", 1)[-1]: k for k in reversed(known)}
        near = difflib.get_close_matches(word.rsplit(".", 1)[-1], list(last), n=1, cutoff=0.7)
        close = [last[word] for word in near]
    return f"; did you mean {close[0]}?" if close else ""


def check_effect(changed: Iterable[str], recipes: Sequence[Recipe]) -> None:
    """Refuse changes that none of some recipes of one tower looks at."""
    for setting in changed:
        where = _places().get(setting)
        if where is not None and not any(where.holds(recipe) for recipe in recipes):
            loss = setting.startswith("loss.")
            here = f"with loss={recipes[0].loss.name}" if loss else "here"
            raise RecipeError(f"{setting} has no effect {here}: it applies to {where.words}; leave it out")


def settings_help(recipe: Recipe | None = None) -> str:
    """Describe all settings, two lines each, with the values of a recipe or, where there is none, the defaults."""
    shown = recipe or Recipe("NAME", {ONLY: TowerRecipe(DataSettings("mnist"))})
    hidden = TOWER_SECTIONS if shown.several else () if recipe is None else ("together",)
    lines = _help(shown, [section for section in ("", *sections()) if section not in hidden])
    for name, part in shown.parts.items() if shown.several else ():
        lines += _help(part, TOWER_SECTIONS, f"{name}.")
    return "\n".join(lines)


def _help(recipe: Recipe, only: Sequence[str], prefix: str = "") -> list[str]:
    from docstring_parser import parse

    values, texts = leaves(plain_mapping(recipe), known=True), dict[str, str]()
    for section, group in (("", Recipe), *sections().items()):
        documented = parse(group.__doc__ or "").params
        texts |= {
            f"{section}.{p.arg_name}".lstrip("."): " ".join((p.description or "").split()) for p in documented
        }
    words = {None: "null", True: "true", False: "false"}
    lines = []
    for name, kind in setting_types().items():
        if name.rpartition(".")[0] in only:
            value = values[name]
            text = words[value] if value is None or isinstance(value, bool) else str(value)
            lines.append(f"  {prefix}{name} = {text} ({allowed(kind)})\n      {texts.get(name, '')}")
    return lines


def same_named(kind: type, settings: Any) -> dict[str, Any]:
    """Give the fields of a dataclass that settings have under the same names."""
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(kind) if hasattr(settings, f.name)}


def plain_mapping(recipe: Recipe) -> dict[str, Any]:
    """Give the settings of the first tower and those of all as nested plain values."""
    values = {name: getattr(recipe, name) for name in _ORDER}
    return as_yaml({name: dataclasses.asdict(v) if name in sections() else v for name, v in values.items()})


def as_yaml(values: Any) -> Any:
    """Give nested values as YAML writes them: tuples become lists."""
    if isinstance(values, dict):
        return {k: as_yaml(v) for k, v in values.items()}
    return [as_yaml(v) for v in values] if isinstance(values, tuple | list) else values


def leaves(values: Mapping[str, Any], prefix: str = "", *, known: bool = False) -> dict[str, Any]:
    """Give nested values by their dotted names; with ``known``, mappings that are a setting stay whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict) and not (known and prefix + key in setting_types())
        found |= leaves(value, f"{prefix}{key}.", known=known) if inner else {prefix + key: value}
    return found
