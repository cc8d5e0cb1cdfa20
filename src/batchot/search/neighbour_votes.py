"""Which class the neighbours of a query speak for, and how sure that is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 20
"""Neighbours that vote: more hardly changes the result where classes have tens of shapes, and costs time."""


def vote_shares(
    distances: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int, temperature: float
) -> NDArray[np.float64]:
    """Give the share of each class in the vote of the neighbours.

    Formula:
        p(c) = sum_{k of class c} w_k / sum_k w_k, w_k = exp(-(d_k^2 - d_1^2) / temperature)

    Args:
        distances: ascending; inf where there are fewer neighbours, (q, k)
        labels: of the neighbours, in [0, n_classes), (q, k)
        n_classes: C
        temperature: of the squared distances; how fast a farther neighbour's vote fades

    Returns:
        Shares that sum to one, (q, C).

    >>> vote_shares(np.array([[0.0, 1.0]]), np.array([[1, 0]]), 2, 1.0).round(3).tolist()
    [[0.269, 0.731]]
    """
    squared = distances**2
    weights = np.exp(-(squared - squared[:, :1]) / temperature)  # (q, k); the nearest has weight 1
    shares = np.zeros((len(distances), n_classes))
    np.add.at(shares, (np.arange(len(distances))[:, None], labels), weights)
    return shares / shares.sum(1, keepdims=True)


def nearest(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the nearest vectors of a gallery, exactly.

    Args:
        queries: (q, d)
        gallery: (n, d)
        k: how many, at most n
        allowed: which of the gallery each query may find, (q, n); None: all

    Returns:
        Euclidean distances, ascending, inf where no more are allowed, and indices into the gallery, both (q, k).
    """
    k = min(k, len(gallery))
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    norms = np.einsum("nd,nd->n", gallery, gallery)
    step = max(1, (1 << 24) // max(len(gallery), 1))  # 64 MB of distances at a time
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        squared = norms[None] - 2 * part @ gallery.T + np.einsum("qd,qd->q", part, part)[:, None]
        if allowed is not None:
            squared = np.where(allowed[start : start + step], squared, np.inf)
        best = (
            np.argpartition(squared, k - 1, axis=1)[:, :k]
            if k < len(gallery)
            else np.tile(np.arange(k), (len(part), 1))
        )
        # from the differences: the difference of squares loses the digits of small distances
        close = np.linalg.norm(part[:, None].astype(np.float64) - gallery[best], axis=2)
        close[~np.isfinite(np.take_along_axis(squared, best, 1))] = np.inf
        order = np.lexsort((best, close), axis=1)
        distances[start : start + step] = np.take_along_axis(close, order, 1)
        indices[start : start + step] = np.take_along_axis(best, order, 1)
    return distances, indices
