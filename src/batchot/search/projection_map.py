"""The embedding as a map in the plane."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 4000
"""More are neither told apart on a screen nor laid out within a minute."""


@dataclass(frozen=True, eq=False)
class MapPoints:
    """Shapes as points of the plane.

    Args:
        ids: of the shapes
        xy: positions in [-1, 1], float32, (n, 2)
        classes: of the shapes
        names: of the shapes
    """

    ids: tuple[str, ...]
    xy: NDArray[np.float32]  # (n, 2)
    classes: tuple[str, ...]
    names: tuple[str, ...]


def drawn_for_map(classes: Sequence[str], *, limit: int = MOST_POINTS, seed: int = 0) -> NDArray[np.int64]:
    """Choose the shapes that are on the map: all, or as many of each class as its share, and one at least.

    Args:
        classes: of the shapes
        limit: about how many, where there are more
        seed: of the draw

    Returns:
        Indices, ascending, (k,).

    >>> drawn_for_map(["a"] * 3).tolist()
    [0, 1, 2]
    """
    if len(classes) <= limit:
        return np.arange(len(classes))
    rng = np.random.default_rng(seed)
    names = np.asarray(classes)
    chosen = []
    for name in np.unique(names):
        of_class = np.flatnonzero(names == name)
        share = max(1, round(limit * len(of_class) / len(names)))
        chosen.append(rng.choice(of_class, share, replace=False))
    return np.sort(np.concatenate(chosen))


def lay_out(vectors: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
    """Lay embeddings out in the plane by t-SNE.

    Args:
        vectors: (n, d)
        seed: of t-SNE

    Returns:
        Positions in [-1, 1], (n, 2); the first two principal components of fewer than twelve vectors.

    >>> lay_out(np.eye(3, dtype=np.float32)).shape
    (3, 2)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    x = np.asarray(vectors, np.float64)
    if len(x) == 0:
        return np.zeros((0, 2), np.float32)
    with warnings.catch_warnings():
        # the principal components of points that are all but equal divide by their spread
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        if len(x) < 12 or float(x.std(0).max()) == 0:
            xy = np.zeros((len(x), 2))
            n = min(2, len(x), x.shape[1])
            xy[:, :n] = PCA(n).fit_transform(x)
        else:
            perplexity = min(30.0, (len(x) - 1) / 3)
            if x.shape[1] > 50:
                x = PCA(50, random_state=seed).fit_transform(x) if len(x) > 50 else x
            xy = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(x)
    xy = np.nan_to_num(xy - xy.mean(0))
    return (xy / max(float(np.abs(xy).max()), 1e-12)).astype(np.float32)
