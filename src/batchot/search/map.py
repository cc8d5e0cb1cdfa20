"""The map of an index: places in the plane."""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchot.files import DAMAGED_ARCHIVE, write_atomically
from batchot.search.confidence import nearest
from batchot.search.records import SearchError


def write_map(path: Path, points: MapPoints) -> None:
    """Write a map, whole or not at all."""
    arrays = {
        "ids": np.array(points.ids, dtype=np.str_),
        "xy": points.xy,
        "classes": np.array(points.classes, dtype=np.str_),
        "names": np.array(points.names, dtype=np.str_),
        "laid_out": points.laid_out,
        "counts": np.array([points.total, points.changes]),
    }
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_map(path: Path) -> MapPoints:
    """Read a map; an empty one where it was not laid out yet."""
    if not path.is_file():
        return EMPTY
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, classes, names = (tuple(file[key].tolist()) for key in ("ids", "classes", "names"))
            if "laid_out" not in file.files:  # of an older version
                return MapPoints(ids, file["xy"], classes, names, np.ones(len(ids), bool), len(ids))
            total, changes = file["counts"].tolist()
            return MapPoints(ids, file["xy"], classes, names, file["laid_out"], total, changes)
    except DAMAGED_ARCHIVE as error:
        raise SearchError(f"{path} is damaged ({error}); delete it and build the index again") from error


MOST_POINTS = 4000
"""Shapes that t-SNE lays out: more would take longer than a minute. The others are put beside their neighbours."""
MOST_SHOWN = 20_000
"""Shapes on the map."""
STALE = 0.1
"""Share of the shapes that may have come, gone or changed before the map is laid out anew."""
_NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class MapPoints:
    """Shapes as points of the plane."""

    ids: tuple[str, ...]  # of the shapes
    xy: NDArray[np.float32]  # (n, 2)
    classes: tuple[str, ...]  # of the shapes
    names: tuple[str, ...]  # of the shapes
    laid_out: NDArray[np.bool_]  # (n,)
    total: int = 0  # shapes of the index, of which these are some
    changes: int = 0  # shapes that have come, gone or changed since it was laid out

    @property
    def stale(self) -> bool:
        """So much has changed that it should be laid out anew."""
        return self.changes > STALE * max(self.total, 1)


EMPTY = MapPoints((), np.zeros((0, 2), np.float32), (), (), np.zeros(0, bool))


@dataclass(frozen=True, eq=False)
class Mapped:
    """All shapes of an index."""

    ids: Sequence[str]  # their ids
    classes: Sequence[str]  # their classes
    names: Sequence[str]  # their names
    vectors: NDArray[np.float32]  # their embeddings, (n, d)

    def points(
        self, shown: NDArray[np.int64], xy: NDArray[np.float32], laid_out: NDArray[np.bool_], changes: int = 0
    ) -> MapPoints:
        """Give some of them as points."""
        ids, classes, names = (tuple(of[k] for k in shown) for of in (self.ids, self.classes, self.names))
        return MapPoints(ids, xy, classes, names, laid_out, len(self.ids), changes)


def new_map(shapes: Mapped) -> MapPoints:
    """Lay out a map."""
    shown = drawn_for_map(shapes.classes, limit=MOST_SHOWN)
    laid_out = np.zeros(len(shown), bool)
    laid_out[drawn_for_map([shapes.classes[k] for k in shown])] = True
    xy = np.zeros((len(shown), 2), np.float32)
    xy[laid_out] = lay_out(shapes.vectors[shown[laid_out]])
    return shapes.points(shown, _filled(xy, laid_out, shapes.vectors[shown]), laid_out)


def renewed_map(old: MapPoints, shapes: Mapped, moved: Set[str] = frozenset()) -> MapPoints:
    """Bring a map up to date without laying it out anew: what is new is put beside its neighbours."""
    place = {id: k for k, id in enumerate(old.ids) if id not in moved}
    known = np.array([place.get(id, -1) for id in shapes.ids], np.int64)
    laid_out = np.zeros(len(known), bool)
    laid_out[known >= 0] = old.laid_out[known[known >= 0]]
    if not laid_out.any():
        return new_map(shapes)
    xy = np.zeros((len(known), 2), np.float32)
    xy[known >= 0] = old.xy[known[known >= 0]]
    # those that were shown stay, and of the others as many as there is room for
    shown = np.sort(np.argsort(known < 0, kind="stable")[:MOST_SHOWN])
    xy, laid_out, fresh = xy[shown], laid_out[shown], known[shown] < 0
    gone = len(set(old.ids) - set(shapes.ids))
    came = max(0, len(known) - (old.total - gone))
    changes = old.changes + gone + came + len(moved & set(old.ids))
    return shapes.points(shown, _filled(xy, ~fresh, shapes.vectors[shown], laid_out), laid_out, changes)


def _filled(
    xy: NDArray[np.float32],
    placed: NDArray[np.bool_],
    vectors: NDArray[np.float32],
    anchors: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The positions, and those of the others beside their neighbours among the anchors."""
    anchors = placed if anchors is None else anchors
    xy = xy.copy()
    xy[~placed] = beside(vectors[~placed], vectors[anchors], xy[anchors])
    return xy


def beside(
    vectors: NDArray[np.float32], neighbours: NDArray[np.float32], xy: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give where embeddings belong on a map: at the mean of their 5 nearest there, the nearer the heavier."""
    distances, indices = nearest(vectors, neighbours, _NEIGHBOURS)
    weights = 1 / np.maximum(distances, 1e-6) ** 2
    places = np.asarray(xy, np.float64)[indices]  # (m, k, 2)
    return ((weights[:, :, None] * places).sum(1) / weights.sum(1)[:, None]).astype(np.float32)


def drawn_for_map(classes: Sequence[str], *, limit: int = MOST_POINTS, seed: int = 0) -> NDArray[np.int64]:
    """Choose the shapes that are on the map: all, or as many of each class as its share, and one at least."""
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
    """Lay embeddings out in the plane by t-SNE."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    x = np.asarray(vectors, np.float64)
    if len(x) == 0:
        return np.zeros((0, 2), np.float32)
    # One thread: those of OpenMP wait for each other spinning, which on busy cores takes ten times as long.
    with threadpool_limits(1), warnings.catch_warnings():
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
