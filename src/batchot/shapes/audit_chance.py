"""Whether something that should not tell the class does: a classifier against chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAK_BELOW = 0.01
FOLDS = 5
MIN_CLASS = 3
_MAX_FEATURES = 256
_BINS = 8
_EXCEEDED = 10  # permutations as good as the truth after which no more are needed


@dataclass(frozen=True)
class ChanceTest:
    """How well features tell the class, and how well they would by chance.

    Args:
        accuracy: of the classifier, cross-validated in five parts.
        chance: share of the largest class, which is what the best blind guess reaches.
        p_value: share of permutations of the labels with which the accuracy is as high.
        n: samples.
        n_classes: classes; those of fewer than three samples are left out.
    """

    accuracy: float
    chance: float
    p_value: float
    n: int
    n_classes: int

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
    permutations: int = 199,
    seed: int = 0,
) -> ChanceTest:
    r"""Test whether features tell the class.

    The classifier is ridge regression on to the classes, from every feature divided into bins: it finds relations
    of any form, and is linear in the labels, so that cross-validating it on a permutation of them costs one
    product of matrices. :math:`p = (1 + \#\{accuracy_i \ge accuracy\}) / (1 + permutations)`; when ten
    permutations have been as good as the truth no more are tried and :math:`p = 10 / tried`.

    Args:
        features: shape ``(n, d)``; columns without variation are left out.
        labels: class of each sample, shape ``(n,)``.
        max_samples: of more, this many are chosen by chance.
        permutations: of the labels, at least 199 for a p below 0.01.
        seed: of the choice, the parts and the permutations.

    Returns:
        Accuracy, chance and p.

    Raises:
        ValueError: on lengths that differ, numbers that are not finite, or fewer than two classes of at least
            three samples.

    Source:
        Ojala and Garriga, Permutation tests for studying classifier performance, JMLR 11, 2010; Besag and
        Clifford, Sequential Monte Carlo p-values, Biometrika 78, 1991.

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.audit_chance import chance_test
        >>> labels = np.arange(60) % 2
        >>> constant, telling = np.full((60, 1), 255.0), labels[:, None] * 3.0
        >>> chance_test(constant, labels).leak, chance_test(telling, labels).leak
        (False, True)
    """
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != (len(x),):
        raise ValueError(f"features must be (n, d) and labels (n,), got {x.shape} and {y.shape}")
    if not np.isfinite(x).all():
        raise ValueError("features must be finite")
    if permutations < 99:
        raise ValueError(f"permutations must be at least 99, got {permutations}")
    random = np.random.default_rng(seed)
    if len(x) > max_samples:
        chosen = np.sort(random.permutation(len(x))[:max_samples])
        x, y = x[chosen], y[chosen]
    _, y, counts = np.unique(y, return_inverse=True, return_counts=True)
    x, y = x[counts[y] >= MIN_CLASS], y[counts[y] >= MIN_CLASS]
    classes, y, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"at least two classes of {MIN_CLASS} or more shapes are needed to audit them")
    chance = float(counts.max() / len(y))
    x = x[:, (x != x[0]).any(axis=0)]
    if x.shape[1] == 0:  # nothing differs between any two shapes
        return ChanceTest(chance, chance, 1.0, len(y), len(classes))
    if x.shape[1] > _MAX_FEATURES:
        x = x[:, np.sort(random.permutation(x.shape[1])[:_MAX_FEATURES])]
    predict = _cross_validated(_kernel(x), random)
    one_hot = np.eye(len(classes))[y]  # (n, n_classes)
    accuracy = _accuracy(predict, one_hot)
    exceeded, tried, p_value = 0, 0, None
    while tried < permutations and p_value is None:
        tried += 1
        exceeded += _accuracy(predict, one_hot[random.permutation(len(y))]) >= accuracy
        if exceeded == _EXCEEDED:
            p_value = exceeded / tried
    if p_value is None:
        p_value = (1 + exceeded) / (1 + permutations)
    return ChanceTest(accuracy, chance, p_value, len(y), len(classes))


def _accuracy(predict: NDArray[np.float64], one_hot: NDArray[np.float64]) -> float:
    return float(((predict @ one_hot).argmax(axis=1) == one_hot.argmax(axis=1)).mean())


def _kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:  # (n, n)
    """Likeness of samples: in how many features, and how narrow bins of them, they fall together."""
    kernel = np.zeros((len(x), len(x)))
    for column in np.unique(x, axis=1).T:
        edges = np.unique(np.quantile(column, np.arange(1, _BINS) / _BINS, method="lower"))
        # Below, at and above each edge: a value that most samples have is told from its neighbours.
        bins = np.searchsorted(edges, column, "left") + np.searchsorted(edges, column, "right")
        members = np.eye(int(bins.max()) + 1)[bins]
        members -= members.mean(axis=0)
        kernel += members @ members.T
    return kernel / kernel.diagonal().mean()


def _cross_validated(kernel: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    r"""The matrix that takes labels to their predictions from the other parts, (n, n).

    Ridge regression with an intercept predicts :math:`H Y`, with :math:`H = K (K + I)^{-1} + 1 1^T / n`.
    Without the samples of a part S its errors there are :math:`(I - H_{SS})^{-1} ((I - H) Y)_S`.
    """
    n = len(kernel)
    errors = np.linalg.inv(kernel + np.eye(n)) - 1 / n  # I - H
    part = random.permutation(n) % FOLDS
    predict = np.eye(n)
    for k in range(FOLDS):
        own = np.flatnonzero(part == k)
        predict[own] -= np.linalg.solve(errors[np.ix_(own, own)], errors[own])
    return predict
