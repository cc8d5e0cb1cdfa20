"""Recipes from YAML files and overrides, checked before anything else happens (imports no torch)."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from batchot.errors import extras_named
from batchot.towers.spec import ONLY
from batchot.training.recipe import DataSettings, Recipe, RecipeError, TogetherSettings, TowerRecipe

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


TOWER_SECTIONS = ("data", "shapes", "augment", "model", "batch")
_ORDER = (
    *("name", "data", "about", "epochs", "seed", "precision", "channels_last", "checkpoint_minutes", "first"),
    *("shapes", "augment", "model", "loss", "batch", "optim", "evaluation"),
)
_OWN_LOSSES = ("batch-ot", "uniform")
_OWN_LOSS_SETTINGS = (
    "margin",
    "pos_margin",
    "gamma",
    "lam",
    "lam_warmup",
    "normalize",
    "grad",
    "distance_power",
    "power",
    "anchors",
)
_UNIFORM_IGNORES = ("gamma", "lam", "lam_warmup", "grad")


def recipe_names() -> tuple[str, ...]:
    """Give the names of the recipes of the package, sorted.

    >>> "mnist" in recipe_names()
    True
    """
    folder = resources.files("batchot") / "recipes"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


@cache
def setting_types() -> dict[str, Any]:
    """Give the type of every setting by its dotted name.

    >>> setting_types()["loss.lam"]
    <class 'float'>
    """
    types: dict[str, Any] = {}
    for name, hint in _hints().items():
        if dataclasses.is_dataclass(hint):
            types |= {f"{name}.{inner}": kind for inner, kind in typing.get_type_hints(hint).items()}
        else:
            types[name] = hint
    return types


@cache
def sections() -> tuple[str, ...]:
    """Give the names of the groups of settings.

    >>> sections()
    ('data', 'shapes', 'augment', 'model', 'loss', 'batch', 'optim', 'evaluation')
    """
    return tuple(name for name, hint in _hints().items() if dataclasses.is_dataclass(hint))


def _hints() -> dict[str, Any]:
    """Types of the groups of settings of a recipe with one tower and of those that are in none, in their order."""
    hints = typing.get_type_hints(TowerRecipe) | typing.get_type_hints(Recipe)
    return {name: hints[name] for name in _ORDER}


@cache
def together_types() -> dict[str, Any]:
    """Give the type of every setting of the section ``together``.

    >>> together_types()["negatives"]
    <class 'int'>
    """
    return dict(typing.get_type_hints(TogetherSettings))


def full_name(setting: str) -> str:
    """Give the dotted name of a setting, where dashes and the short form of a name are allowed.

    >>> full_name("loss"), full_name("batch.classes-per-batch")
    ('loss.name', 'batch.classes_per_batch')
    """
    setting = setting.replace("-", "_")
    return f"{setting}.name" if setting in ("loss", "data", "optim") else setting


def is_setting(setting: str) -> bool:
    """Say whether a dotted name is a setting of a recipe.

    >>> is_setting("loss.lam"), is_setting("loss.options.neg_margin"), is_setting("lam")
    (True, True, False)
    """
    if setting.startswith("first."):
        return full_name(setting.removeprefix("first.")) in setting_types()
    return setting in setting_types() or (setting.startswith("loss.options.") and setting.count(".") == 2)


def allowed(kind: Any) -> str:
    """Describe the values that a type admits.

    >>> from typing import Literal
    >>> allowed(Literal["plain", "balanced"]), allowed(tuple[int, ...]), allowed(int | None)
    ('plain, balanced', 'a list of whole numbers such as [64,32]', 'a whole number or null')
    """
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        type(None): "null",
    }
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
    """Give the end of a message about an unknown word: the closest known one, if any is close.

    >>> suggestion("loss.lamda", ["loss.lam", "loss.gamma"])
    '; did you mean loss.lam?'
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:  # "lam" for "loss.lam"
        last = {k.rsplit(".", 1)[-1]: k for k in reversed(known)}
        close = [
            last[m] for m in difflib.get_close_matches(word.rsplit(".", 1)[-1], list(last), n=1, cutoff=0.7)
        ]
    return f"; did you mean {close[0]}?" if close else ""


@cache
def _parser() -> ArgumentParser:
    with extras_named():
        from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TowerRecipe, None)
    parser.add_class_arguments(Recipe, None, skip={"towers", "together"})
    return parser


@cache
def _together_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TogetherSettings, None)
    return parser


def settings_help(recipe: Recipe | None = None) -> str:
    """Describe all settings, with the values of a recipe or, where there is none, the defaults.

    >>> "loss.lam = 5.0 (a number)" in settings_help()
    True
    """
    if recipe is None or not recipe.several:
        shown = recipe or Recipe("NAME", {ONLY: TowerRecipe(DataSettings("mnist"))})
        return "\n".join(help_lines(shown))
    from docstring_parser import parse

    sections = dict.fromkeys(name.rpartition(".")[0] for name in setting_types())
    lines = help_lines(recipe, [section for section in sections if section not in TOWER_SECTIONS])
    documented = parse(TogetherSettings.__doc__ or "").params
    texts = {p.arg_name: " ".join((p.description or "").split()) for p in documented}
    lines += [
        f"  together.{key} = {getattr(recipe.together, key)} ({_allowed_together(key)})\n      {texts[key]}"
        for key in together_types()
    ]
    for name, part in recipe.parts.items():
        lines += help_lines(part, TOWER_SECTIONS, f"{name}.")
    return "\n".join(lines)


def help_lines(recipe: Recipe, only: Sequence[str] | None = None, prefix: str = "") -> list[str]:
    """Describe the settings of a recipe, two lines each.

    Args:
        recipe: whose values are shown
        only: sections; "" are the settings that are in none (all, if None)
        prefix: put before each name
    """
    from docstring_parser import parse

    values = flat(plain_mapping(recipe), "defaults")
    texts: dict[str, str] = {}
    for section, part in [("", recipe), *((f"{s}.", getattr(recipe, s)) for s in sections())]:
        documented = parse(type(part).__doc__ or "").params
        texts |= {section + p.arg_name: " ".join((p.description or "").split()) for p in documented}
    return [
        f"  {prefix}{name} = {_plain(values[name])} ({allowed(kind)})\n      {texts.get(name, '')}"
        for name, kind in setting_types().items()
        if only is None or name.rpartition(".")[0] in only
    ]


def _plain(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def read_recipe(recipe: str) -> tuple[str, Any]:
    with extras_named():
        import yaml

    path = Path(recipe)
    if recipe in recipe_names():
        source, text = (
            f"recipe {recipe}",
            (resources.files("batchot") / "recipes" / f"{recipe}.yaml").read_text(),
        )
    elif path.suffix in (".yaml", ".yml") or "/" in recipe:
        if not path.is_file():
            raise RecipeError(f"no recipe file {path}; give the path of a YAML file or one of {_names()}")
        source, text = str(path), path.read_text()
    else:
        raise RecipeError(
            f"unknown recipe {recipe!r}; there are {_names()}{suggestion(recipe, recipe_names())}\n"
            "A recipe of your own is given as the path of its YAML file."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{source} must hold settings such as 'epochs: 5', not {values!r}")
    return source, values


def _names() -> str:
    return ", ".join(recipe_names())


def flat(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Give nested settings by their dotted names, all of them known."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in sections() and isinstance(value, dict):
            flat |= {f"{key}.{inner}": v for inner, v in value.items()}
        elif key in sections():
            raise RecipeError(f"{source}: {key} must hold settings, such as '{key}: {{...}}', not {value!r}")
        else:
            flat[str(key)] = value
    for key in flat:
        if key not in setting_types():
            raise RecipeError(f"{source}: unknown setting {key!r}{suggestion(key, list(setting_types()))}")
    return flat


def build(values: dict[str, Any], source: str) -> Recipe:
    """Type-check settings by their dotted names and make the recipe."""
    from argparse import ArgumentError

    nested: dict[str, Any] = {}
    for key, value in values.items():
        section, _, inner = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[inner] = value
    for required in ("name", "data.name"):
        if required not in values:
            raise RecipeError(f"{source}: the setting {required} is missing")
    for key, value in values.items():
        if value is None and type(None) not in get_args(setting_types()[key]):
            raise _not_allowed(source, key, value)
    parser = _parser()
    try:
        checked = parser.parse_object(nested)
    except (ArgumentError, TypeError) as error:
        _find_wrong_type(values, source)
        raise RecipeError(f"{source}: {error}") from error
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
    try:
        made = instantiate(checked)
        tower = TowerRecipe(**{section: made[section] for section in TOWER_SECTIONS})
        return Recipe(towers={ONLY: tower}, **{n: made[n] for n in _ORDER if n not in TOWER_SECTIONS})
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error


def _not_allowed(source: str, key: str, value: Any) -> RecipeError:
    return RecipeError(f"{source}: {key}: {value!r} is not allowed; allowed: {allowed(setting_types()[key])}")


def _find_wrong_type(values: dict[str, Any], source: str) -> None:
    """Check each setting alone, so that the message can name the wrong one and what it admits."""
    from argparse import ArgumentError

    required = {"name": "x", "data.name": "digits"}
    for key, value in values.items():
        nested: dict[str, Any] = {}
        for name, v in (required | {key: value}).items():
            section, _, inner = name.rpartition(".")
            (nested.setdefault(section, {}) if section else nested)[inner] = v
        try:
            _parser().parse_object(nested)
        except (ArgumentError, TypeError) as error:
            raise _not_allowed(source, key, value) from error


def override_value(text: str) -> Any:
    """Read a value as YAML does; what is not YAML is text."""
    with extras_named():
        import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def change(changed: dict[str, Any], values: dict[str, Any], name: str, text: str) -> None:
    """Note an override.

    Args:
        changed: overrides so far, by full name; is added to
        values: what they override
        name: of the setting
        text: its new value

    Raises:
        RecipeError: no such setting
    """
    key = full_name(name)
    if not is_setting(key):
        raise RecipeError(f"unknown setting {name!r}{suggestion(key, list(setting_types()))}")
    value = override_value(text)
    if key.startswith("loss.options."):
        inherited = changed.get("loss.options", values.get("loss.options", {}))
        key, value = "loss.options", {**inherited, key.removeprefix("loss.options."): value}
    elif key.startswith("first."):
        inherited = changed.get("first", values.get("first", {}))
        key, value = "first", {**inherited, full_name(key.removeprefix("first.")): value}
    elif setting_types()[key] is str:
        value = text
    changed[key] = value


def forget_options(changed: dict[str, Any], values: dict[str, Any]) -> None:
    """Drop the options of another loss where the loss is changed."""
    if (
        changed.get("loss.name", values.get("loss.name")) != values.get("loss.name")
        and "loss.options" not in changed
    ):
        changed["loss.options"] = {}


def lenient(values: dict[str, Any]) -> dict[str, Any]:
    """Let YAML's 32 stand for the text "32" where text is what the setting admits."""
    out = dict(values)
    for key, value in values.items():
        kind = setting_types()[key]
        texts = get_args(kind) if get_origin(kind) is typing.Literal else ()
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in texts:
            out[key] = str(value)
    return out


def check_effect(changed: dict[str, Any], made: Recipe) -> None:
    """Refuse overrides that the chosen data, network or loss would not look at."""
    for setting, has_effect, where in _where_effective(made):
        if setting in changed and not has_effect:
            raise RecipeError(f"{setting} has no effect here: it applies to {where}")
    name = made.loss.name
    for setting in _OWN_LOSS_SETTINGS:
        if f"loss.{setting}" not in changed:
            continue
        if name not in _OWN_LOSSES:
            raise RecipeError(
                f"loss.{setting} has no effect with loss={name}; its own settings are loss.options.NAME=VALUE"
            )
        if name == "uniform" and setting in _UNIFORM_IGNORES:
            raise RecipeError(
                f"loss.{setting} has no effect with loss=uniform, which has no transport problem"
            )
    if name in _OWN_LOSSES and made.loss.options:
        raise RecipeError(
            f"loss.options belongs to the losses of pytorch-metric-learning, not to loss={name}"
        )


def _where_effective(made: Recipe) -> list[tuple[str, bool, str]]:
    """Say of the settings that some recipes do not look at whether this one does, and which do."""
    mvcnn = made.model.name == "mvcnn"
    rendered = mvcnn and made.shapes.views == "rendered"
    splatted = mvcnn and made.shapes.views == "splatted"
    clouds = splatted or made.model.name in ("pointnet", "dgcnn")
    images, drawn, cnn = not made.data.shapes, made.data.drawn, made.model.name == "cnn"
    pretrained, head = made.model.pretrained != "none", made.model.train == "head"
    divided = made.data.name in ("psb", "shape-folder", "sketches", "quickdraw")
    groups = (
        (("data.image_size",), made.data.name == "folder" or drawn, "data=folder and drawings"),
        (("data.train_on",), drawn, "sketches"),
        (("data.rename",), made.data.mixed, "sketches of several sources"),
        (
            ("data.quickdraw",),
            "quickdraw" in made.data.shares and made.data.name != "quickdraw",
            "train_on=quickdraw",
        ),
        (("data.per_class",), "quickdraw" in {*made.data.shares, made.data.name}, "quickdraw"),
        (
            ("data.folder",),
            made.data.name not in ("digits", "library", "line-drawings"),
            "sets that are read",
        ),
        (("model.channels",), made.model.name == "lenet", "model.name=lenet"),
        (("model.backbone", "model.pretrained"), mvcnn or cnn, "model.name=mvcnn and cnn"),
        (("model.pooling", "model.channels_apart"), mvcnn, "model.name=mvcnn"),
        (("model.train",), pretrained, "pretrained backbones"),
        (("model.kept_variants", "model.frozen_layers"), made.model.train == "head", "model.train=head"),
        (("model.freeze_norm",), (mvcnn or cnn) and not head, "model.train=all and head-then-all"),
        (("first",), made.model.train == "head-then-all", "model.train=head-then-all"),
        (
            ("optim.backbone_lr", "optim.layer_decay"),
            not head or made.model.frozen_layers is not None,
            "training above model.frozen_layers, or of all",
        ),
        (("shapes.views", "shapes.cameras", "shapes.size"), mvcnn, "model.name=mvcnn"),
        (("shapes.channels", "shapes.antialias"), rendered, "shapes.views=rendered of model.name=mvcnn"),
        (("shapes.radius", "shapes.margin"), splatted, "shapes.views=splatted of model.name=mvcnn"),
        (("shapes.points",), clouds, "splatted views and point networks"),
        (("shapes.prefer",), made.data.name.startswith("modelnet"), "ModelNet"),
        (("shapes.up",), made.data.shapes, "shapes"),
        (("shapes.parts", "shapes.tolerance"), made.data.name == "shape-folder", "shape-folder"),
        (("shapes.min_class",), divided and made.data.shapes, "psb and shape-folder"),
        (("shapes.test_fraction", "shapes.split_seed"), divided, "psb, shape-folder, sketches and quickdraw"),
        (("batch.chunk",), made.batch.chunk < made.batch.size, "batches that are larger than a chunk"),
        (("augment.cutout",), images and not drawn, "images"),
        (("augment.shift",), images or rendered, "images and rendered views"),
        (("augment.padding",), rendered or (images and not drawn), "images and rendered views"),
        (("augment.scale", "augment.turn"), clouds or drawn, "sketches, splatted views and point networks"),
        (("augment.jitter",), clouds, "splatted views and point networks"),
        (("augment.thickness", "augment.elastic", "augment.gaps"), drawn, "sketches"),
        (("augment.tremor", "augment.stretch", "augment.rotations"), drawn, "sketches"),
        (("augment.partial",), clouds or drawn, "sketches, splatted views and point networks"),
        (
            ("augment.hand",),
            drawn and not {*made.data.shares} <= {"drawn"},
            "sketches of quickdraw and lines",
        ),
    )
    return [(name, effective, where) for names, effective, where in groups for name in names]


def as_yaml(values: Any) -> Any:
    """Give nested values as YAML writes them: tuples become lists."""
    if isinstance(values, dict):
        return {k: as_yaml(v) for k, v in values.items()}
    return [as_yaml(v) for v in values] if isinstance(values, tuple | list) else values


def plain_mapping(recipe: Recipe) -> dict[str, Any]:
    """Give the settings of the first tower and those of all as nested plain values."""
    values = {name: getattr(recipe, name) for name in _ORDER}
    return as_yaml({name: dataclasses.asdict(v) if name in sections() else v for name, v in values.items()})


def make_together(values: dict[str, Any], source: str) -> TogetherSettings:
    """Type-check the settings of the section ``together``."""
    from argparse import ArgumentError

    types = together_types()
    for key in values:
        if key not in types:
            raise RecipeError(f"{source}: unknown setting together.{key}{suggestion(key, list(types))}")
    for key, value in values.items():
        try:
            _together_parser().parse_object({key: value})
        except (ArgumentError, TypeError) as error:
            raise RecipeError(
                f"{source}: together.{key}: {value!r} is not allowed; allowed: {_allowed_together(key)}"
            ) from error
    checked = _together_parser().parse_object(values)
    return TogetherSettings(**{key: checked[key] for key in types})


def _allowed_together(key: str) -> str:
    if key == "rename":
        return "a mapping such as {sketch: {dog: Quadruped}}"
    if key in ("within", "across"):
        return "a mapping from name to number such as {sketch: 0.5}"
    return allowed(together_types()[key])


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give nested values by their dotted names.

    >>> leaves({"epochs": 3, "loss": {"lam": 5.0}})
    {'epochs': 3, 'loss.lam': 5.0}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
