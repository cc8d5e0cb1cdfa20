"""Recipes and settings of cross-modal runs."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from batchot.errors import extras_named
from batchot.training.recipe import EvaluationSettings, LossSettings, OptimSettings, Recipe, RecipeError
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
    plain_mapping,
    setting_types,
    suggestion,
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
    towers = {name: plain_mapping(tower) for name, tower in recipe.towers.items()}
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


@dataclass(frozen=True)
class TogetherSettings:
    """How towers are trained together and measured against each other.

    Args:
        gallery: "all" trains on all targets and retrieves from all of them, as SHREC does; "test" trains on the
            training targets and retrieves from those of the test, which the run has never seen
        within: factor of the metric loss within a tower, by its name (1 for those that are not named)
        across: factor of the metric loss between two towers, by both names such as sketch-shape (1 likewise)
        four_terms: the authors' form: each batch in halves, terms half against half and first (second) halves
            across
        batches: batches an epoch (null: as many as show each training query about once)
        negatives: targets of classes that no query has that are added to each batch as negatives
        share: weights that all towers have in common: "none", those of the "backbone", or "all"
        norm: shared weights with batch normalisation of each tower's own ("separate"), or in common ("shared")
        rename: for each tower, what its classes are called here, such as {sketch: {dog: Quadruped}}
    """

    gallery: Literal["all", "test"] = "all"
    within: dict[str, float] = field(default_factory=dict)
    across: dict[str, float] = field(default_factory=dict)
    four_terms: bool = False
    batches: int | None = None
    negatives: int = 0
    share: Literal["none", "backbone", "all"] = "none"
    norm: Literal["separate", "shared"] = "separate"
    rename: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batches is not None and self.batches < 1:
            raise RecipeError(f"together.batches: {self.batches} is not allowed; it must be >= 1 or null")
        if self.negatives < 0:
            raise RecipeError(f"together.negatives: {self.negatives} is not allowed; it must be >= 0")
        for name, weights in (("within", self.within), ("across", self.across)):
            for key, weight in weights.items():
                if not weight >= 0:
                    raise RecipeError(f"together.{name}.{key}: {weight} is not allowed; it must be >= 0")


@dataclass(frozen=True)
class CrossModalRecipe:
    """What determines a cross-modal run.

    Args:
        name: short name, used for the run folder
        towers: what each embeds, and by which network; the first is the queries, the last the targets. All that
            does not belong to one tower (epochs, seed, loss, optimiser) is the same in all.
        together: how they are trained and measured together
        about: one line on what the recipe does
    """

    name: str
    towers: dict[str, Recipe]
    together: TogetherSettings = field(default_factory=TogetherSettings)
    about: str = ""

    def __post_init__(self) -> None:
        if len(self.towers) < 2:
            raise RecipeError(f"towers: {len(self.towers)} is too few; a cross-modal recipe has two or more")
        if self.loss.anchors and self.loss.name in ("batch-ot", "uniform"):
            raise RecipeError("loss.anchors has no effect here: it applies to recipes of a single network")
        widths = {name: tower.model.widths[-1] for name, tower in self.towers.items()}
        if len(set(widths.values())) > 1:
            raise RecipeError(f"model.widths: all towers must end in one width, these end in {widths}")
        for section, names in self._named().items():
            if unknown := [name for name in names if name not in self._known(section)]:
                raise RecipeError(
                    f"together.{section}: there is no {unknown[0]!r}; there are {', '.join(self._known(section))}"
                )
        if self.together.share != "none":
            backbones = {(t.model.name in ("cnn", "mvcnn"), t.model.backbone) for t in self.towers.values()}
            if len(backbones) > 1 or not next(iter(backbones))[0]:
                raise RecipeError(
                    "together.share: towers that share weights need one and the same model.backbone"
                )
            metric = {(t.model.widths, t.model.activation, t.model.batch_norm) for t in self.towers.values()}
            if self.together.share == "all" and len(metric) > 1:
                raise RecipeError("together.share: all needs one and the same metric network in all towers")

    def _named(self) -> Mapping[str, Mapping[str, object]]:
        together = self.together
        return {"within": together.within, "across": together.across, "rename": together.rename}

    def _known(self, section: str) -> list[str]:
        if section != "across":
            return list(self.towers)
        return ["-".join(pair) for pair in self.pairs]

    @property
    def parts(self) -> dict[str, Recipe]:
        """What each tower embeds and by which network."""
        return self.towers

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All pairs of towers, in their order."""
        names = list(self.towers)
        return [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]

    @property
    def query(self) -> str:
        """Name of the tower whose test samples are the queries."""
        return next(iter(self.towers))

    @property
    def target(self) -> str:
        """Name of the tower whose samples are the gallery."""
        return list(self.towers)[-1]

    @property
    def _first(self) -> Recipe:
        return self.towers[self.query]

    @property
    def epochs(self) -> int:
        """Passes over the training queries."""
        return self._first.epochs

    @property
    def seed(self) -> int:
        """Of the weights, the batches and the augmentation."""
        return self._first.seed

    @property
    def precision(self) -> Literal["32", "bf16"]:
        """Of the network's arithmetic."""
        return self._first.precision

    @property
    def channels_last(self) -> bool:
        """Whether channels lie last in memory."""
        return self._first.channels_last

    @property
    def checkpoint_minutes(self) -> float:
        """Minutes between checkpoints within an epoch."""
        return self._first.checkpoint_minutes

    @property
    def loss(self) -> LossSettings:
        """Of every term."""
        return self._first.loss

    @property
    def optim(self) -> OptimSettings:
        """Of all weights."""
        return self._first.optim

    @property
    def evaluation(self) -> EvaluationSettings:
        """What is measured."""
        return self._first.evaluation
