"""Which batches meet in a cross-modal loss: the terms within each modality and across each pair of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from batchot.losses.batch import check_embeddings, check_labels, labelled_rows

Batches = Mapping[str, tuple[Tensor, Tensor]]  # modality -> embeddings (n, d) and labels (n,)
WithinWeights = float | Mapping[str, float]
AcrossWeights = float | Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Part:
    """Rows start to stop of one modality's batch."""

    modality: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, batches: Batches) -> tuple[Tensor, Tensor]:
        """The embeddings and labels of these rows."""
        embeddings, labels = batches[self.modality]
        if self.start == 0 and self.stop == len(embeddings):
            return embeddings, labels
        return embeddings[self.start : self.stop], labels[self.start : self.stop]


@dataclass(frozen=True)
class Term:
    """One batch against another, or against itself without the diagonal."""

    name: str  # "sketch/shape"; a prime marks the second half of a batch
    rows: Part
    columns: Part | None  # None: the rows against themselves
    weight: float

    @property
    def has_pairs(self) -> bool:
        """Whether there is anything to transport: not so for one sample against itself, or an empty half."""
        return len(self.rows) > 1 if self.columns is None else len(self.rows) > 0 and len(self.columns) > 0


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms, and whether each batch is cut into halves."""

    within: WithinWeights = 1.0
    across: AcrossWeights = 1.0
    four_terms: bool = False

    def __post_init__(self) -> None:
        _check_weights("within", self.within)
        _check_weights("across", self.across)
        if isinstance(self.across, Mapping):
            for pair in self.across:
                if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] != pair[1]):
                    raise ValueError(f"across must name pairs as ('sketch', 'shape'), got {pair!r}.")
                if (pair[1], pair[0]) in self.across:
                    raise ValueError(
                        f"across names {pair!r} in both orders; the order has no meaning, give one."
                    )

    def terms(self, sizes: Mapping[str, int]) -> tuple[Term, ...]:
        """The terms of positive weight for batches of these sizes, in the order of the modalities."""
        self._check_names(tuple(sizes))
        found = [self._within(name, size) for name, size in sizes.items()]
        for first, second in itertools.combinations(sizes, 2):
            found += self._across(first, sizes[first], second, sizes[second])
        kept = tuple(term for term in found if term.weight > 0)
        if not kept:
            raise ValueError(
                f"no term has a positive weight for the modalities {listed(sizes)}: within={self.within}, "
                f"across={self.across}."
            )
        return kept

    def _check_names(self, names: tuple[str, ...]) -> None:
        for name in names:
            if not name or "/" in name or "'" in name:
                raise ValueError(f"a modality's name must not be empty or hold / or ', got {name!r}.")
        weighted = set(self.within) if isinstance(self.within, Mapping) else set()
        if isinstance(self.across, Mapping):
            weighted |= {name for pair in self.across for name in pair}
        if unknown := sorted(weighted.difference(names)):
            raise ValueError(f"weights name {listed(unknown)}, but the batches are {listed(names)}.")

    def _within(self, name: str, size: int) -> Term:
        weight = self.within.get(name, 0.0) if isinstance(self.within, Mapping) else self.within
        if not self.four_terms:
            return Term(f"{name}/{name}", Part(name, 0, size), None, weight)
        first, second = _halves(name, size)
        return Term(f"{name}/{name}'", first, second, weight)

    def _across(self, first: str, n: int, second: str, m: int) -> list[Term]:
        weight = self.across
        if isinstance(weight, Mapping):
            weight = weight.get((first, second), weight.get((second, first), 0.0))
        if not self.four_terms:
            return [Term(f"{first}/{second}", Part(first, 0, n), Part(second, 0, m), weight)]
        pairs = zip(_halves(first, n), _halves(second, m), strict=True)
        return [
            Term(f"{first}{prime}/{second}{prime}", rows, columns, weight)
            for prime, (rows, columns) in zip(("", "'"), pairs, strict=True)
        ]


def weighted_sum(terms: Sequence[Term], losses: Tensor) -> Tensor:
    """sum_k weight_k losses_k of (k,) losses."""
    if all(term.weight == 1.0 for term in terms):
        return losses.sum()
    return (losses * losses.new_tensor([term.weight for term in terms])).sum()


def term_key(name: str) -> frozenset[str]:
    """What a term's name says, whatever the order of its sides."""
    return frozenset(name.split("/"))


def _check_weights(option: str, given: float | Mapping[Any, float]) -> None:
    named = (
        {f"{option}[{key!r}]": weight for key, weight in given.items()}
        if isinstance(given, Mapping)
        else {option: given}
    )
    for name, weight in named.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"{name} must be finite and at least 0, got {weight}.")


def _halves(name: str, size: int) -> tuple[Part, Part]:
    cut = (size + 1) // 2  # the odd sample goes to the first half
    return Part(name, 0, cut), Part(name, cut, size)


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(repr(name) for name in names) or "none"


def check_batches(
    batches: Batches | Tensor,
    sketch_labels: Tensor | None,
    shape: Tensor | None,
    shape_labels: Tensor | None,
    ignore_label: int | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """The arguments of a call as checked batches without ignored rows, or an error that says what arrived."""
    if isinstance(batches, Tensor):
        if sketch_labels is None or shape is None or shape_labels is None:
            raise ValueError(
                "two modalities are given as (sketch, sketch_labels, shape, shape_labels), or any number as "
                "{name: (embeddings, labels)}."
            )
        batches = {"sketch": (batches, sketch_labels), "shape": (shape, shape_labels)}
    elif not (sketch_labels is None and shape is None and shape_labels is None):
        raise ValueError("a mapping of batches is the only argument; labels belong into it.")
    if not batches:
        raise ValueError("there are no batches.")
    checked: dict[str, tuple[Tensor, Tensor]] = {}
    for name, (embeddings, labels) in batches.items():
        check_embeddings(f"embeddings of {name!r}", embeddings)
        labels = check_labels(f"labels of {name!r}", labels, embeddings)
        checked[name] = labelled_rows(embeddings, labels, ignore_label)
    widths = {name: x.shape[1] for name, (x, _) in checked.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"all modalities must be embedded in one dimension, got {widths}.")
    devices = {name: str(x.device) for name, (x, _) in checked.items()}
    if len(set(devices.values())) > 1:
        raise ValueError(f"all modalities must be on one device, got {devices}.")
    return checked
