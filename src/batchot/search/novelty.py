"""Whether a query is like anything in an index, from its distances to its neighbours and how these agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from batchot.search.neighbour_votes import NEIGHBOURS

FALSE_ALARMS = 0.05
"""Share of the queries whose class is in the index that may be told that nothing is like them."""
_RANKS = (1, 5, NEIGHBOURS)
_RIDGE = 1e-3


@dataclass(frozen=True)
class Novelty:
    """A score that is positive where nothing is like a query.

    Formula:
        sum_i weights_i f_i - threshold, with f = (d_1, d_5, d_20, H), d_k the distance to the k-th neighbour and
        H = -sum_c p(c) log p(c) the entropy of their vote

    No weight is negative: a query that is farther from everything is never taken for a better known one.

    Args:
        weights: of the features, at least 0, (4,)
        threshold: of their sum

    >>> bool(Novelty((1.0, 0.0, 0.0, 0.0), 0.5)(np.array([[0.7, 0.8, 0.9, 0.0]]))[0] > 0)
    True
    """

    weights: tuple[float, ...]
    threshold: float

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the scores (n,) of features (n, 4)."""
        return features @ np.array(self.weights) - self.threshold


def features_of(distances: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what tells the known from the unknown.

    Args:
        distances: to the neighbours, ascending; inf where there are fewer, (n, k)
        shares: of the classes in their vote, (n, C)

    Returns:
        d_1, d_5, d_20 (or that of the last neighbour there is) and the entropy of the vote in nats, (n, 4).
    """
    last = np.isfinite(distances).sum(1).clip(1) - 1
    columns = [distances[np.arange(len(distances)), np.minimum(rank - 1, last)] for rank in _RANKS]
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(1)
    return np.stack([*columns, entropy], 1)


def fit_novelty(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> Novelty:
    """Fit the score by logistic regression with weights of at least 0.

    The threshold leaves at most FALSE_ALARMS of the known above it; where known and unknown lie apart, it is in the
    middle between them.

    Args:
        known: features of queries whose class is in the index, (n, 4)
        unknown: features of queries whose class is not, (m, 4)

    Returns:
        The score.
    """
    x = np.concatenate([known, unknown])
    y = np.concatenate([np.zeros(len(known)), np.ones(len(unknown))])
    scale = np.maximum(x.std(0), 1e-9)
    z = (x - x.mean(0)) / scale

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
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
