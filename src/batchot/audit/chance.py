"""Whether something that should not tell the class does: a classifier against chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAK_BELOW = 0.01
PARTS = 5
MIN_CLASS = 3
_MAX_FEATURES = 128
_BINS = 8
_ENOUGH = 10  # permutations as good as the truth after which no more are needed


@dataclass(frozen=True)
class ChanceTest:
    """How well features tell the class, and how well they would by chance."""

    accuracy: float  # of the classifier, cross-validated in five parts
    chance: float  # share of the largest class, which is what the best blind guess reaches
    p_value: float  # how often labels that were shuffled are told as well as the true ones
    n: int  # samples
    n_classes: int  # classes; those of fewer than three samples are left out

    @property
    def leak(self) -> bool:
        """Whether the class can be told, p < 0.01."""
        return self.p_value < LEAK_BELOW

    def __str__(self) -> str:
        return (
            f"accuracy {100 * self.accuracy:.1f} %, chance {100 * self.chance:.1f} %, p = {self.p_value:.3f} "
            f"({self.n:,} shapes, {self.n_classes} classes)"
        )


def chance_test(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    max_samples: int = 1000,
    permutations: int = 399,
    seed: int = 0,
) -> ChanceTest:
    r"""Test whether features tell the class."""
    if permutations < 399:
        raise ValueError(f"permutations must be at least 399 for a p below 0.01, got {permutations}")
    random = np.random.default_rng(seed)
    x, y = _checked(features, labels, max_samples, random)
    one_hot = np.eye(int(y.max()) + 1)[y]  # (n, n_classes)
    n, n_classes = one_hot.shape
    chance = float(one_hot.mean(axis=0).max())
    x = x[:, (x != x[0]).any(axis=0)]
    if x.shape[1] == 0:  # nothing differs between any two shapes
        return ChanceTest(chance, chance, 1.0, n, n_classes)
    if x.shape[1] > _MAX_FEATURES:
        x = x[:, np.sort(random.permutation(x.shape[1])[:_MAX_FEATURES])]
    bins = _bins(x)
    predict = _cross_validated(bins, random)
    accuracy = float((_scores(predict, one_hot).argmax(axis=1) == y).mean())
    truth = _extremes(predict, bins, one_hot)
    exceeded, tried = np.zeros(2, np.int64), 0
    while tried < permutations and exceeded.min() < _ENOUGH:
        tried += 1
        # The margin is for labels that are the same but for the order in which sums are taken.
        exceeded += _extremes(predict, bins, one_hot[random.permutation(n)]) >= truth - 1e-9 * np.abs(truth)
    p_value = min(1.0, 2 * float((1 + exceeded.min()) / (1 + tried)))
    return ChanceTest(accuracy, chance, p_value, n, n_classes)


def _checked(
    features: ArrayLike, labels: ArrayLike, max_samples: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != (len(x),):
        raise ValueError(f"features must be (n, d) and labels (n,), got {x.shape} and {y.shape}")
    if not np.isfinite(x).all():
        raise ValueError("features must be finite")
    if len(x) > max_samples:
        chosen = np.sort(random.permutation(len(x))[:max_samples])
        x, y = x[chosen], y[chosen]
    _, y, counts = np.unique(y, return_inverse=True, return_counts=True)
    x, y = x[counts[y] >= MIN_CLASS], y[counts[y] >= MIN_CLASS]
    classes, y = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"at least two classes of {MIN_CLASS} or more shapes are needed to audit them")
    return x, y


def _bins(x: NDArray[np.float64]) -> NDArray[np.float64]:  # (n, number of bins of all features)
    """Which sample is in which bin, 0 or 1."""
    found = []
    for column in np.unique(x, axis=1).T:
        edges = np.unique(np.quantile(column, np.arange(1, _BINS) / _BINS, method="lower"))
        # Below, at and above each edge: a value that most samples have is told from its neighbours.
        numbers = np.searchsorted(edges, column, "left") + np.searchsorted(edges, column, "right")
        found.append(np.eye(int(numbers.max()) + 1)[numbers])
    bins = np.concatenate(found, axis=1)
    return bins[:, bins.any(axis=0)]


def _cross_validated(bins: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    r"""The matrix that takes labels to their predictions from the other parts, (n, n)."""
    n = len(bins)
    centred = bins - bins.mean(axis=0)
    kernel = centred @ centred.T
    errors = np.linalg.inv(kernel / kernel.diagonal().mean() + np.eye(n))  # I - H
    part = random.permutation(n) % PARTS
    predict = np.eye(n)
    for k in range(PARTS):
        own = np.flatnonzero(part == k)
        predict[own] -= np.linalg.solve(errors[np.ix_(own, own)], errors[own])
    return predict


def _scores(predict: NDArray[np.float64], one_hot: NDArray[np.float64]) -> NDArray[np.float64]:
    # The shares of the classes are the same for every permutation. Left to the parts they would differ a little
    # between these, always against the class of the samples left out, and hide a weak leak.
    shares = one_hot.mean(axis=0)
    return shares + predict @ (one_hot - shares)


def _extremes(
    predict: NDArray[np.float64], bins: NDArray[np.float64], one_hot: NDArray[np.float64]
) -> NDArray[np.float64]:  # (2,), each larger where features tell more
    error = ((_scores(predict, one_hot) - one_hot) ** 2).mean()
    # The number of samples in a bin and a class, if independent, is hypergeometric.
    n = len(one_hot)
    in_bin, in_class = bins.sum(axis=0)[:, None] / n, one_hot.sum(axis=0) / n
    variance = n * n / (n - 1) * in_bin * (1 - in_bin) * in_class * (1 - in_class)
    deviation = np.abs(bins.T @ one_hot - n * in_bin * in_class)
    largest = np.divide(deviation, np.sqrt(variance), out=np.zeros_like(variance), where=variance > 0).max()
    return np.array([-error, largest])
