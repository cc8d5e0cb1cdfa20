"""Recipe of a cross-modal run: towers that embed different things into one space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from batchot.training.recipe import EvaluationSettings, LossSettings, OptimSettings, Recipe, RecipeError


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
