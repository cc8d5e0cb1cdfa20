"""What a call of the loss is: checked embeddings, labels, pairs and settings, and which batches meet in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from batchot.losses.settings import BatchOTSettings

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """One transport problem; shapes, types and values are right."""

    x: Tensor  # (n, d)
    labels: Tensor | None  # (n,)
    y: Tensor | None = None  # (m, d), None: the batch against itself without the diagonal
    y_labels: Tensor | None = None  # (m,)
    pairs: Sequence[Tensor] | None = None  # (a1, p, a2, n), int64: the only ones that carry mass
    settings: BatchOTSettings = field(default_factory=BatchOTSettings)
    distance: Distance | None = None  # in the place of the Euclidean one

    @property
    def columns(self) -> Tensor:
        """What the rows stand against, (m, d)."""
        return self.x if self.y is None else self.y


def check_problem(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Sequence[Tensor] | None,
    ref_emb: Tensor | None,
    ref_labels: Tensor | None,
    settings: BatchOTSettings,
    distance: Distance | None = None,
) -> Problem:
    """The arguments of a call as a :class:`Problem` without ignored rows, or an error that says what arrived."""
    check_embeddings("embeddings", embeddings, finite=not embeddings.is_cuda)
    if ref_emb is None and ref_labels is not None:
        raise ValueError("ref_labels were given without ref_emb.")
    if labels is None and indices_tuple is None:
        raise ValueError("labels are needed unless indices_tuple says which pairs are positive and negative.")
    if labels is not None:
        labels = check_labels("labels", labels, embeddings)
    if ref_emb is embeddings:  # as in pytorch-metric-learning, the same tensor is the same batch
        ref_emb, ref_labels = None, None
    if ref_emb is not None:
        check_embeddings("ref_emb", ref_emb, finite=not ref_emb.is_cuda)
        if ref_emb.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"embeddings and ref_emb must have one dimension, got {embeddings.shape[1]} and {ref_emb.shape[1]}."
            )
        if ref_labels is not None:
            ref_labels = check_labels("ref_labels", ref_labels, ref_emb)
        elif indices_tuple is None:
            raise ValueError(
                "ref_emb needs ref_labels (or an indices_tuple that says which pairs are positive)."
            )
    pairs = None
    if indices_tuple is not None:
        pairs = _as_pairs(indices_tuple, embeddings.device)
    else:
        assert labels is not None
        embeddings, labels = labelled_rows(embeddings, labels, settings.ignore_label)
        if ref_emb is not None and ref_labels is not None:
            ref_emb, ref_labels = labelled_rows(ref_emb, ref_labels, settings.ignore_label)
    return Problem(embeddings, labels, ref_emb, ref_labels, pairs, settings, distance)


def check_embeddings(name: str, x: Tensor, finite: bool = True) -> None:
    """Refuse embeddings that are not a finite (n, d) of at least one row, under the name that the caller knows."""
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {tuple(x.shape)}.")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"{name} are empty, shape {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {x.dtype}.")
    if finite:
        _check_finite(name, x)


def check_finite(x: Tensor, y: Tensor | None) -> None:
    """Refuse embeddings that hold NaN or infinite values, naming their rows."""
    _check_finite("embeddings", x)
    if y is not None:
        _check_finite("ref_emb", y)


def _check_finite(name: str, x: Tensor) -> None:
    if torch.compiler.is_compiling():  # a graph cannot stop here: its operator looks, when it runs
        return
    # One norm finds every NaN and Inf, and rows of which no norm can be taken.
    if not bool(torch.isfinite(torch.linalg.vector_norm(x.detach()))):
        bad = (~torch.isfinite(x.detach())).any(1).nonzero().squeeze(1).tolist()
        if bad:
            raise ValueError(
                f"{name} hold NaN or infinite values in {len(bad)} of {x.shape[0]} rows: {_some(bad)}. "
                "Look at the network's input and learning rate; the loss was not computed."
            )
        longest = float(x.detach().double().norm(dim=1).max())
        if longest * longest > torch.finfo(torch.promote_types(x.dtype, torch.float32)).max:
            check_misplacement(math.inf, x)


def check_labels(name: str, labels: Tensor, x: Tensor) -> Tensor:
    """One label a row of x, (n,) or (n, 1) made (n,), on the device of x; NaN, which equals nothing, is refused."""
    if not isinstance(labels, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(labels).__name__}.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.squeeze(1)
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (n,) or (n, 1), got {tuple(labels.shape)}.")
    if labels.shape[0] != x.shape[0]:
        raise ValueError(f"{labels.shape[0]} {name} came with {x.shape[0]} embeddings.")
    if labels.dtype in (torch.bfloat16, torch.float16):
        labels = labels.float()  # exact; NumPy has no bfloat16
    elif labels.dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64):
        labels = labels.long()  # in which 255 is not -1, the label that is left out
    if labels.is_floating_point() and not torch.compiler.is_compiling():
        nan = labels.isnan().nonzero().squeeze(1).tolist()
        if nan:
            raise ValueError(
                f"{name} hold NaN in {len(nan)} of {len(labels)} rows: {_some(nan)}. Give samples without a class the "
                "label that is left out (ignore_label, -1 by default)."
            )
    return labels if labels.device == x.device else labels.to(x.device)


def labelled_rows(x: Tensor, labels: Tensor, ignore_label: int | None) -> tuple[Tensor, Tensor]:
    """The rows whose label is not ignore_label; all of them for None, which waits for no GPU."""
    if ignore_label is None:
        return x, labels
    kept = labels != ignore_label
    if torch.compiler.is_compiling():  # a graph has no room for a number of rows that only the labels tell
        torch._assert_async(
            kept.all(),
            f"labels hold ignore_label={ignore_label}: leave those rows out before the compiled call.",
        )
        return x, labels
    return (x, labels) if bool(kept.all()) else (x[kept], labels[kept])


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")


def _as_pairs(indices_tuple: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Pairs (a1, p, a2, n) of rows and columns, also of triplets (a, p, n), as int64 on the device."""
    if len(indices_tuple) not in (3, 4):
        raise ValueError(
            f"indices_tuple must hold 3 tensors (triplets) or 4 (pairs), got {len(indices_tuple)}."
        )
    for each in indices_tuple:
        if not isinstance(each, Tensor) or (
            len(each) and (each.is_floating_point() or each.dtype == torch.bool)
        ):
            raise ValueError(
                "indices_tuple must hold tensors of whole numbers, got "
                f"{each.dtype if isinstance(each, Tensor) else type(each).__name__}."
            )
    a1, p, *rest = (each.to(device, torch.long) for each in indices_tuple)
    a2, n = (a1, rest[0]) if len(rest) == 1 else rest
    if a1.ndim != 1 or a1.shape != p.shape or a2.ndim != 1 or a2.shape != n.shape:
        raise ValueError(
            "the tensors of indices_tuple must be as long as those they are paired with, (k,) each, got "
            f"{', '.join(str(tuple(each.shape)) for each in indices_tuple)}."
        )
    return a1, p, a2, n


def named_rows(problem: Problem) -> Problem:
    """A problem with pairs as two batches: the rows and the columns that a pair names; the others carry no mass."""
    if problem.pairs is None:
        return problem
    a1, p, a2, n = problem.pairs
    x, (a1, a2), rows = _named(problem.x, "embeddings", a1, a2)
    y, (p, n), columns = _named(problem.columns, "columns of the batch", p, n)
    labels = None if problem.labels is None else problem.labels[rows]
    y_labels = problem.labels if problem.y is None else problem.y_labels
    y_labels = None if y_labels is None else y_labels[columns]
    return replace(problem, x=x, labels=labels, y=y, y_labels=y_labels, pairs=(a1, p, a2, n))


def _named(x: Tensor, what: str, *indices: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """The rows of x that indices name, the indices of these rows among them, and which rows they are."""
    for index in indices:
        if len(index) and not (int(index.min()) >= 0 and int(index.max()) < len(x)):
            raise ValueError(
                f"indices_tuple names {what} {int(index.min())} to {int(index.max())}, but there are {len(x)}."
            )
    used = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for index in indices:
        used[index] = True
    if bool(used.all()):
        return x, list(indices), torch.arange(len(x), device=x.device)
    number = used.cumsum(0) - 1
    return x[used], [number[index] for index in indices], used.nonzero().squeeze(1)


def check_misplacement(M: Tensor | float, x: Tensor) -> None:
    """Refuse a misplacement (or the sum of one) that embeddings of enormous length have made infinite."""
    total = float(M.detach().sum()) if isinstance(M, Tensor) else M
    if not math.isfinite(total):
        length = float(x.detach().double().norm(dim=1).max())
        raise ValueError(
            f"the distances of these embeddings overflow {x.dtype} (rows up to {length:.1e} long): training has "
            "diverged. Lower the learning rate, or normalise the embeddings (normalize=True: rows up to 1e18)."
        )


def at_working_precision(x: Tensor, normalize: bool = False) -> Tensor:
    """x in float32 or float64, its rows divided by their norm where asked for (a row of zeros stays)."""
    x = x if x.dtype == torch.float64 else x.float()
    return torch.nn.functional.normalize(x) if normalize else x


def check_distance(distance: Distance | None) -> None:
    """Refuse similarities that are no function of a distance (a dot product has no zero to be close to)."""
    if distance is None or not getattr(distance, "is_inverted", False):
        return
    if getattr(distance, "power", 1) != 1 or not getattr(distance, "normalize_embeddings", False):
        raise ValueError(
            f"{type(distance).__name__} is a similarity from which no distance follows; use a distance, or "
            "CosineSimilarity() with power=1, which is read as the squared distance 2 - 2 cos."
        )


@dataclass(frozen=True)
class Rows:
    """n rows of a problem with N rows and m columns; all rows where one process holds them all."""

    x: Tensor  # (n, d), of unit length or centred
    y: Tensor  # (m, d)
    x_labels: Tensor  # (n,)
    y_labels: Tensor  # (m,)
    first: int | None  # y[first:first + n] is x itself, whose own pairs carry no mass; None: two batches
    total: int  # N
    settings: BatchOTSettings

    @property
    def itself(self) -> bool:
        """Whether this is a batch against itself, so that K is symmetric."""
        return self.first is not None

    @property
    def whole(self) -> bool:
        """Whether these are all rows of a batch against itself."""
        return self.itself and len(self.x) == len(self.y)

    @property
    def row_mass(self) -> float:
        """a = 1 / N."""
        return 1.0 / self.total

    @property
    def column_mass(self) -> float:
        """b = 1 / m."""
        return 1.0 / len(self.y)


def prepare(x: Tensor, normalize: bool, centre: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Unit rows and their norms; or centred rows (which changes no distance, and rounds less) and the centre."""
    if normalize:
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_(min=1e-12)
        return x / norm, norm, None
    centre = x.mean(0) if centre is None else centre
    return x - centre, None, centre


def through_norm(grad: Tensor, x: Tensor, norm: Tensor | None) -> Tensor:
    """The gradient on raw embeddings from that on unit rows x: (g - x <x, g>) / norm."""
    if norm is None:
        return grad
    return grad.sub_(x * (x * grad).sum(1, keepdim=True)).div_(norm)


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

    def problem(self, batches: Batches, settings: BatchOTSettings, distance: Distance | None) -> Problem:
        """One batch against another, or against itself."""
        x, labels = self.rows.of(batches)
        if self.columns is None:
            return Problem(x, labels, None, None, None, settings, distance)
        y, y_labels = self.columns.of(batches)
        # Losses recognise a batch against itself by the identity of its tensors, and then leave the diagonal out; here
        # one vector of labels (or embeddings) may well serve two modalities.
        y = y.view_as(y) if y is x else y
        y_labels = y_labels.view_as(y_labels) if y_labels is labels else y_labels
        return Problem(x, labels, y, y_labels, None, settings, distance)

    def zero(self, batches: Batches) -> Tensor:
        """0 for a term without pairs, part of the graph, so that a backward pass through it alone is no error."""
        x, _ = batches[self.rows.modality]
        return 0.0 * at_working_precision(x)[:0].sum()


def blocks_of(terms: Sequence[Term], batches: Batches) -> list[tuple[int, int, int, int]]:
    """First and last row and column of each term in the matrix of all pairs of all batches."""
    first: dict[str, int] = {}
    rows = 0
    for name, (x, _) in batches.items():
        first[name] = rows
        rows += len(x)
    blocks = []
    for term in terms:
        columns = term.rows if term.columns is None else term.columns
        at, to = first[term.rows.modality], first[columns.modality]
        blocks.append((at + term.rows.start, at + term.rows.stop, to + columns.start, to + columns.stop))
    return blocks


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
