"""Position, size and direction of a shape made those of every other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchot.compiling import njit
from batchot.shapes.errors import ShapeError
from batchot.shapes.shape import Mesh, PointCloud, Shape, Up

_NO_AREA = 1e-12  # of a mesh in the unit sphere: below it, rounding is all that keeps corners off a line


def normalize_shape(shape: Shape, up: Up = "auto") -> Shape:
    """The shape centred, in the unit sphere and with z up: x -> (x - c) / max_i |x_i - c|.

    c is the centre of the bounding box, and both are of the points that are used: vertices that no face names are
    left out. Units and position of the input, however large or small, do not matter.

    Args:
        shape: a mesh or a cloud of points.
        up: its axis that points up; y-up is turned by 90 degrees about x, (x, y, z) -> (x, -z, y). ``"auto"`` is z,
            as only a file can tell.

    Returns:
        A new shape of the same kind, its farthest point at distance 1.

    Raises:
        ShapeError: all points are the same, or the surface has no area.

    Example:
        >>> from batchot.shapes import PointCloud, normalize_shape
        >>> normalize_shape(PointCloud([[10, 0, 0], [30, 0, 0]])).points.tolist()
        [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    shape = turned_to_z(shape, up)
    if isinstance(shape, PointCloud):
        return PointCloud(_in_unit_sphere(shape.points), shape.normals)
    vertices, faces = _used(shape)
    mesh = Mesh(_in_unit_sphere(vertices), faces)
    _check_area(mesh)
    return mesh


def turned_to_z(shape: Shape, up: Up) -> Shape:
    """The shape with z up, nothing else changed.

    Example:
        >>> from batchot.shapes import PointCloud
        >>> from batchot.shapes.normalize import turned_to_z
        >>> turned_to_z(PointCloud([[1, 2, 3]]), "y").points.tolist()
        [[1.0, -3.0, 2.0]]
    """
    if up not in ("auto", "z", "y"):
        raise ShapeError(f"up must be 'auto', 'z' or 'y', got {up!r}")
    if up != "y":
        return shape
    if isinstance(shape, Mesh):
        return Mesh(_turned(shape.vertices), shape.faces)
    return PointCloud(_turned(shape.points), None if shape.normals is None else _turned(shape.normals))


def face_normals(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Twice the area of each triangle, along its normal, (m, 3).

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.normalize import face_normals
        >>> face_normals(np.eye(3), np.array([[0, 1, 2]])).tolist()
        [[1.0, 1.0, 1.0]]
    """
    first = vertices[faces[:, 0]]
    return np.cross(vertices[faces[:, 1]] - first, vertices[faces[:, 2]] - first)


def _turned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def _used(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    if used.all():
        return mesh.vertices, mesh.faces
    return mesh.vertices[used], (np.cumsum(used) - 1)[mesh.faces]


def _in_unit_sphere(points: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = _bounds(points)
    # Halved first and scaled before squaring, or coordinates near the limits of float64 would overflow.
    centred = points - (0.5 * low + 0.5 * high)
    size = np.abs(centred).max()
    if size <= 1e-12 * np.abs(points).max():
        raise ShapeError(
            f"all {len(points):,} points are the same, so there is no shape; leave the file out, or save it with more "
            "digits"
        )
    centred /= size
    return centred / np.sqrt(np.einsum("ij,ij->i", centred, centred).max())


def _check_area(mesh: Mesh) -> None:
    if not _area(mesh.vertices, mesh.faces) > _NO_AREA:
        raise ShapeError(
            f"its {len(mesh.faces):,} faces have no area (the corners of each lie on a line), so nothing can be seen; "
            "leave the file out"
        )


# Compiled, because NumPy takes as long for sums over three columns as it takes to read the file.


@njit(cache=True)
def _bounds(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = points[0].copy()
    high = points[0].copy()
    for i in range(1, len(points)):
        for axis in range(3):
            low[axis] = min(low[axis], points[i, axis])
            high[axis] = max(high[axis], points[i, axis])
    return low, high


@njit(cache=True)
def _area(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> float:
    """Twice the area of all triangles."""
    total = 0.0
    for i in range(len(faces)):
        a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
        x, y, z = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - x, vertices[b, 1] - y, vertices[b, 2] - z
        vx, vy, vz = vertices[c, 0] - x, vertices[c, 1] - y, vertices[c, 2] - z
        total += np.sqrt((uy * vz - uz * vy) ** 2 + (uz * vx - ux * vz) ** 2 + (ux * vy - uy * vx) ** 2)
    return total
