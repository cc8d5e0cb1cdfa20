"""Polygons of any number of corners to triangles."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.shapes.errors import ShapeError


def triangulate(
    values: NDArray[np.float64] | NDArray[np.int64],
    firsts: NDArray[np.int64],
    corners: NDArray[np.int64],
    n_vertices: int,
) -> NDArray[np.int64]:
    """Cut polygons into triangles, each about its first corner; fewer than three corners have no area.

    Args:
        values: indices of vertices, among other numbers.
        firsts: where in ``values`` the first corner of each polygon is, (p,).
        corners: how many corners each polygon has, one after the other in ``values``, (p,).
        n_vertices: what every index must be below.

    Returns:
        Indices of vertices, (m, 3).

    Raises:
        ShapeError: naming the polygon with an index that is no whole number or out of range.

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.read_polygons import triangulate
        >>> triangulate(np.array([4, 0, 1, 2, 3]), np.array([1]), np.array([4]), n_vertices=4)
        array([[0, 1, 2],
               [0, 2, 3]])
    """
    faces = np.empty((int(np.maximum(corners - 2, 0).sum()), 3), dtype=np.int64)
    bad, wrong = _triangulate(values, firsts, corners, n_vertices, faces)
    if bad >= 0:
        raise ShapeError(
            f"face {bad} (counted from 0) names vertex {wrong:g}, which is not one of 0 to {n_vertices - 1}; "
            "the file is damaged: restore it"
        )
    return faces


@njit(cache=True)
def _triangulate(
    values: NDArray[np.float64],
    firsts: NDArray[np.int64],
    corners: NDArray[np.int64],
    n_vertices: int,
    faces: NDArray[np.int64],
) -> tuple[int, float]:
    k = 0
    for p in range(len(firsts)):
        first = firsts[p]
        for j in range(corners[p]):
            index = values[first + j]
            if not (0 <= index < n_vertices and index == np.floor(index)):
                return p, float(index)
        for j in range(2, corners[p]):
            faces[k, 0] = int(values[first])
            faces[k, 1] = int(values[first + j - 1])
            faces[k, 2] = int(values[first + j])
            k += 1
    return -1, 0.0
