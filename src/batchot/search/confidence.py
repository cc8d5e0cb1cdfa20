"""How sure an answer is: votes of neighbours, novelty, calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from batchot.shapes.shape import Bools, Floats, Ints

Vectors: TypeAlias = NDArray[np.float32]  # embeddings, (n, d)

NEIGHBOURS = 20
"""Neighbours that vote: more hardly changes the result where classes have tens of shapes, and costs time."""


def vote_shares(distances: Floats, labels: Ints, n_classes: int, temperature: float) -> Floats:
    """Give the share of each class in the vote of the neighbours."""
    squared = distances**2
    weights = np.exp(-(squared - squared[:, :1]) / temperature)  # (q, k); the nearest has weight 1
    shares = np.zeros((len(distances), n_classes))
    np.add.at(shares, (np.arange(len(distances))[:, None], labels), weights)
    return shares / shares.sum(1, keepdims=True)


def nearest(queries: Vectors, gallery: Vectors, k: int) -> tuple[Floats, Ints]:
    """Find the nearest vectors of a gallery, exactly."""
    k = min(k, len(gallery))
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    norms = np.einsum("nd,nd->n", gallery, gallery)
    step = max(1, (1 << 24) // max(len(gallery), 1))  # 64 MB of distances at a time
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        squared = norms[None] - 2 * part @ gallery.T + np.einsum("qd,qd->q", part, part)[:, None]
        best = np.argpartition(squared, k - 1, axis=1)[:, :k]
        # from the differences: the difference of squares loses the digits of small distances
        close = np.linalg.norm(part[:, None].astype(np.float64) - gallery[best], axis=2)
        order = np.lexsort((best, close), axis=1)
        distances[start : start + step] = np.take_along_axis(close, order, 1)
        indices[start : start + step] = np.take_along_axis(best, order, 1)
    return distances, indices


FALSE_ALARMS = 0.05
"""Share of the queries whose class is in the index that may be told that nothing is like them."""
_RANKS = (1, 5, NEIGHBOURS)
_RIDGE = 1e-3


@dataclass(frozen=True)
class Novelty:
    """A score that is positive where nothing is like a query."""

    weights: tuple[float, ...]  # of the features, at least 0, (4,)
    threshold: float  # of their sum

    def __call__(self, features: Floats) -> Floats:
        """Give the scores (n,) of features (n, 4)."""
        return features @ np.array(self.weights) - self.threshold


def features_of(distances: Floats, shares: Floats) -> Floats:
    """Give what tells the known from the unknown."""
    last = np.isfinite(distances).sum(1).clip(1) - 1
    columns = [distances[np.arange(len(distances)), np.minimum(rank - 1, last)] for rank in _RANKS]
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(1)
    return np.stack([*columns, entropy], 1)


def fit_novelty(known: Floats, unknown: Floats) -> Novelty:
    """Fit the score by logistic regression with weights of at least 0."""
    x = np.concatenate([known, unknown])
    y = np.concatenate([np.zeros(len(known)), np.ones(len(unknown))])
    scale = np.maximum(x.std(0), 1e-9)
    z = (x - x.mean(0)) / scale

    def loss(theta: Floats) -> tuple[float, Floats]:
        margin = z @ theta[:-1] + theta[-1]
        value = np.logaddexp(0, margin) - y * margin
        p = 1 / (1 + np.exp(-margin.clip(-30, 30)))
        gradient = np.append(z.T @ (p - y) / len(y) + 2 * _RIDGE * theta[:-1], (p - y).mean())
        return float(value.mean() + _RIDGE * (theta[:-1] ** 2).sum()), gradient

    start = np.append(np.full(z.shape[1], 0.1), 0.0)
    bounds = [(0.0, None)] * z.shape[1] + [(None, None)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = found[:-1] / scale
    if not weights.any():  # nothing tells them apart: fall back to the distance to the nearest
        weights = np.array([1.0, *[0.0] * (z.shape[1] - 1)])
    a, b = np.sort(known @ weights), np.sort(unknown @ weights)
    least = float(np.quantile(a, 1 - FALSE_ALARMS, method="higher"))
    candidates = np.unique(np.concatenate([[least], a[a >= least], b[b >= least]]))
    gain = (len(b) - np.searchsorted(b, candidates, "right")) / len(b) - (
        len(a) - np.searchsorted(a, candidates, "right")
    ) / len(a)
    best = int(gain.argmax())
    upper = candidates[best + 1] if best + 1 < len(candidates) else candidates[best]
    return Novelty(tuple(float(w) for w in weights), float((candidates[best] + upper) / 2))


LEAST_QUERIES, LEAST_CLASSES = 30, 2
"""Fewer queries or classes say nothing about confidences."""
MOST_QUERIES = 2000
_FOLDS = 5
_BINS = 10
_SAME = 1e-3  # a nearer shape of the gallery is the query itself, embedded in another batch


@dataclass(frozen=True)
class Judgement:
    """What neighbours say about a query."""

    ranking: tuple[tuple[str, float], ...]  # classes with their probabilities, the most probable first
    confidence: float  # probability of the first
    nothing_like_it: bool  # the query is unlike all that the index holds


@dataclass(frozen=True)
class Calibration:
    """What was fitted for one kind of query, and how good it is on queries that the fit has not seen."""

    source: str  # which queries it is fitted to, in words
    optimistic: bool  # the network was trained on those very queries, so that new ones will do worse
    queries: int  # how many
    temperature: float  # of the squared distances: how fast a farther neighbour's vote fades
    slope: float  # of the logit of the greatest share
    offset: float  # of the same
    weights: tuple[float, ...]  # of `batchot.search.confidence.Novelty`
    threshold: float  # of the same
    accuracy: float  # share of the queries whose most probable class is right
    confidence: float  # mean confidence
    # expected calibration error: sum_b |B_b| / n |accuracy(B_b) - confidence(B_b)| over ten bins B_b of equal
    # numbers of queries
    ece: float
    false_alarms: (
        float  # share of the queries that are told that nothing is like them although their class is there
    )
    # share of the queries that are told so when their class is taken out of the index; 0 where it cannot be
    # measured
    rejects: float
    alike: tuple[float, ...] | None = None  # (a, b, c) of `likeness`; None in indexes of older versions

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what `to_json` gave; what another version has added is passed over."""
        known = {field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values}
        alike = known.get("alike")
        return cls(**{**known, "weights": tuple(known["weights"]), "alike": alike and tuple(alike)})

    def likeness(
        self,
        distances: NDArray[np.floating],
        classes: Sequence[str],
        found: NDArray[np.floating],
        found_classes: Sequence[str],
    ) -> list[float | None]:
        """Give the probability that results are of the query's class."""
        if self.alike is None or not any(classes):
            return [None] * len(found_classes)
        names, _, shares = self._votes(distances, classes, found_classes)
        of_found = np.array([shares[0, names.index(name)] for name in found_classes])
        p = _alike(np.asarray(found, np.float64), of_found, *self.alike)
        return [float(value) if name else None for value, name in zip(p, found_classes, strict=True)]

    def _votes(
        self, distances: NDArray[np.floating], classes: Sequence[str], others: Sequence[str] = ()
    ) -> tuple[list[str], Floats, Floats]:
        """The names of all classes, and the distances and shares of the neighbours that have one, in a row each."""
        named = [k for k, name in enumerate(classes) if name]
        names = sorted({*(classes[k] for k in named), *others})
        d = np.asarray(distances, np.float64)[None, named]
        votes = np.array([[names.index(classes[k]) for k in named]])
        return names, d, vote_shares(d, votes, len(names), self.temperature)

    def judge(self, distances: NDArray[np.floating], classes: Sequence[str]) -> Judgement | None:
        """Say what the nearest shapes mean."""
        if not any(classes):
            return None
        names, d, shares = self._votes(distances, classes)
        novel = Novelty(self.weights, self.threshold)(features_of(d, shares))[0] > 0
        order = sorted(range(len(names)), key=lambda k: (-shares[0, k], names[k]))
        top = float(shares[0, order[0]])
        sure = float(_confidence(shares.max(1), self.slope, self.offset)[0])
        # The others share what is left in the proportion of their votes, but none gets more than the first: then a
        # part is left for classes that no neighbour has.
        rest = min((1 - sure) / (1 - top), sure / top) if top < 1 else 0.0
        ranking = [(names[order[0]], sure), *((names[k], float(shares[0, k]) * rest) for k in order[1:])]
        return Judgement(tuple(ranking), sure, bool(novel))


def calibrate(
    queries: Vectors,
    query_classes: Sequence[str],
    gallery: Vectors,
    gallery_classes: Sequence[str],
    *,
    source: str,
    optimistic: bool = False,
    same: Ints | None = None,
    seed: int = 0,
) -> Calibration | None:
    """Fit confidences and the score of queries that nothing is like."""
    named = np.array([bool(name) for name in gallery_classes], bool)
    classes = sorted({name for name in gallery_classes if name})
    number = {name: k for k, name in enumerate(classes)}
    kept = np.array([k for k, name in enumerate(query_classes) if name in number], np.int64)
    if len(kept) < LEAST_QUERIES or len(classes) < LEAST_CLASSES:
        return None
    rng = np.random.default_rng(seed)
    if len(kept) > MOST_QUERIES:
        kept = np.sort(rng.choice(kept, MOST_QUERIES, replace=False))
    if same is not None:
        position = np.where(named, np.cumsum(named) - 1, -1)  # in the gallery of named shapes
        same = np.where(same[kept] >= 0, position[same[kept]], -1)
    gallery = np.ascontiguousarray(gallery[named])
    labels = np.array([number[name] for name in gallery_classes if name], np.int64)
    queries = queries[kept]
    truth = np.array([number[query_classes[k]] for k in kept], np.int64)
    n, c = len(kept), len(classes)

    distances, indices = _others(queries, gallery, same)
    votes = labels[indices]
    folds = rng.permutation(n) % _FOLDS
    best, sure = np.empty(n, np.int64), np.empty(n)
    for fold in range(_FOLDS):
        out = folds == fold
        temperature, slope, offset = _fit(distances[~out], votes[~out], truth[~out], c)
        shares = vote_shares(distances[out], votes[out], c, temperature)
        best[out], sure[out] = shares.argmax(1), _confidence(shares.max(1), slope, offset)
    temperature, slope, offset = _fit(distances, votes, truth, c)

    known = features_of(distances, vote_shares(distances, votes, c, temperature))
    unknown = _without_class(queries, truth, gallery, labels, c, temperature)
    alarms, rejects = _measure_novelty(known, unknown, truth, rng)
    novelty = fit_novelty(known, unknown)
    return Calibration(
        source=source,
        optimistic=optimistic,
        queries=n,
        temperature=temperature,
        slope=slope,
        offset=offset,
        weights=novelty.weights,
        threshold=novelty.threshold,
        accuracy=float((best == truth).mean()),
        confidence=float(sure.mean()),
        ece=expected_calibration_error(sure, best == truth),
        false_alarms=alarms,
        rejects=rejects,
        alike=_fit_alike(distances, votes, truth, vote_shares(distances, votes, c, temperature)),
    )


def expected_calibration_error(confidences: Floats, right: Bools, bins: int = _BINS) -> float:
    """Give how far confidences are from the share that is right."""
    order = np.argsort(confidences, kind="stable")
    error = 0.0
    # equal confidences lie in one bin: otherwise the order of the queries would make an error
    edges = np.flatnonzero(np.diff(confidences[order])) + 1
    wanted = np.linspace(0, len(order), bins + 1)[1:-1]
    chosen = np.unique(edges[np.searchsorted(edges, wanted).clip(0, len(edges) - 1)]) if len(edges) else edges
    for part in np.split(order, chosen):
        error += len(part) / len(order) * abs(right[part].mean() - confidences[part].mean())
    return float(error)


def _others(queries: Vectors, gallery: Vectors, same: Ints | None) -> tuple[Floats, Ints]:
    """The nearest shapes that are not the query itself."""
    distances, indices = nearest(queries, gallery, NEIGHBOURS + 1)
    itself = distances < _SAME if same is None else indices == same[:, None]
    itself[:, 1:] &= ~np.logical_or.accumulate(itself, 1)[:, :-1]  # one at most
    # the one left out goes to the end, the others stay in order
    order = np.argsort(itself, axis=1, kind="stable")
    distances = np.where(itself, np.inf, distances)
    distances, indices = np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
    return distances[:, :NEIGHBOURS], indices[:, :NEIGHBOURS]


def _confidence(top: Floats, slope: float, offset: float) -> Floats:
    p = np.clip(top, 1e-6, 1 - 1e-6)
    return _logistic(slope * np.log(p / (1 - p)) + offset)


def _logistic(margin: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(margin, -30, 30)))


def _fit_logistic(
    model: Callable[..., Floats], right: Floats, start: Sequence[float], bounds: Sequence[tuple[float, float]]
) -> tuple[float, ...]:
    """The parameters of a model of the probability of what was right, by Platt's targets."""
    # one right or wrong answer more, so that nothing is 0 or 1 for lack of queries
    n_right = right.sum()
    target = np.where(right > 0, (n_right + 1) / (n_right + 2), 1 / (len(right) - n_right + 2))

    def loss(theta: Floats) -> float:
        p = np.clip(model(*theta), 1e-12, 1 - 1e-12)
        return float(-(target * np.log(p) + (1 - target) * np.log(1 - p)).mean())

    found = minimize(loss, np.array(start), bounds=bounds, method="L-BFGS-B").x
    return tuple(float(x) for x in found)


def _alike(distances: Floats, shares: Floats, a: float, b: float, c: float) -> Floats:
    p = np.clip(shares, 1e-4, 1 - 1e-4)
    return _logistic(a - b * np.log(np.maximum(distances, _SAME)) + c * np.log(p / (1 - p)))


def _fit_alike(distances: Floats, votes: Ints, truth: Ints, shares: Floats) -> tuple[float, ...]:
    """By whether each neighbour of each query has its class."""
    there = np.isfinite(distances)
    d, p = distances[there], np.take_along_axis(shares, votes, 1)[there]
    right = (votes == truth[:, None])[there].astype(float)
    bounds = [(-50.0, 50.0), (0.0, 20.0), (0.0, 20.0)]
    return _fit_logistic(partial(_alike, d, p), right, (0.0, 1.0, 0.5), bounds)


def _fit(distances: Floats, votes: Ints, truth: Ints, n_classes: int) -> tuple[float, float, float]:
    """Temperature, by the probability of the right class; then slope and offset, by whether the first is right."""
    finite = distances[np.isfinite(distances)]
    scale = max(float(np.median(finite**2)), 1e-9)
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        shares = vote_shares(distances, votes, n_classes, scale * float(np.exp(log_temperature)))
        # a little of every class: a right one without a vote must not decide everything
        return float(-np.log(0.98 * shares[rows, truth] + 0.02 / n_classes).mean())

    temperature = scale * float(np.exp(min(np.linspace(-7, 4, 45), key=loss)))
    shares = vote_shares(distances, votes, n_classes, temperature)
    top, right = shares.max(1), (shares.argmax(1) == truth).astype(float)
    # no negative slope: more votes for a class never make it less sure
    bounds = [(0.0, 20.0), (-20.0, 20.0)]
    slope, offset = _fit_logistic(partial(_confidence, top), right, (1.0, 0.0), bounds)
    return temperature, slope, offset


def _without_class(
    queries: Vectors, truth: Ints, gallery: Vectors, labels: Ints, n_classes: int, temperature: float
) -> Floats:
    """Features of the queries when the index lacks their class."""
    features = np.empty((len(queries), 4))
    for label in np.unique(truth):
        of_class = truth == label
        others = np.flatnonzero(labels != label)
        distances, indices = nearest(queries[of_class], gallery[others], NEIGHBOURS)
        shares = vote_shares(distances, labels[others][indices], n_classes, temperature)
        features[of_class] = features_of(distances, shares)
    return features


def _measure_novelty(
    known: Floats, unknown: Floats, truth: Ints, rng: np.random.Generator
) -> tuple[float, float]:
    """False alarms and rejects, each class measured with what the others were fitted to."""
    classes = np.unique(truth)
    fold_of = dict(zip(classes.tolist(), (rng.permutation(len(classes)) % _FOLDS).tolist(), strict=True))
    folds = np.array([fold_of[label] for label in truth.tolist()])
    alarms, rejects = np.zeros(len(truth), bool), np.zeros(len(truth), bool)
    for fold in np.unique(folds):
        out = folds == fold
        if out.all():
            return 0.0, 0.0
        novelty = fit_novelty(known[~out], unknown[~out])
        alarms[out], rejects[out] = novelty(known[out]) > 0, novelty(unknown[out]) > 0
    return float(alarms.mean()), float(rejects.mean())
