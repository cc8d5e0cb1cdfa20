"""Position, size and direction of a shape made those of every other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.shapes.errors import ShapeError
from batchot.shapes.shape import Mesh, PointCloud, Shape, Up

_NO_AREA = 1e-12  # of a mesh in the unit sphere: below it, rounding is all that keeps corners off a line
_EPS = float(np.finfo(np.float64).eps)
# Of a shape in the unit sphere, in a picture of 224 pixels: what covers less is a few dots.
_HARDLY_SEEN = 0.05  # area of both sides of a wire as long as the picture and a pixel thick, or of a ball of 14 pixels
_BULK = 1 / 16  # of the longest side of a cloud, that all but 2 % of its points are within
_LOOKED_AT = 4096  # points of a cloud, to find out


def normalize_shape(shape: Shape, up: Up = "auto") -> Shape:
    """The shape centred, in the unit sphere and with z up: x -> (x - c) / max_i |x_i - c|.

    c is the centre of the bounding box, and both are of what has area: vertices that no face names are left out, and so
    are faces without area where they reach beyond the others. Units and position of the input, however large or
    small, do not matter.

    Args:
        shape: a mesh or a cloud of points.
        up: its axis that points up; y-up is turned by 90 degrees about x, (x, y, z) -> (x, -z, y). ``"auto"`` is z,
            as only a file can tell.

    Returns:
        A new shape of the same kind, its farthest point at distance 1. Its ``notes`` say so where hardly anything will
        be seen in pictures of it: where some points are far from all others, or the surface is thin as a wire.

    Raises:
        ShapeError: all points are the same, or the surface has no area.

    Example:
        >>> from batchot.shapes import PointCloud, normalize_shape
        >>> normalize_shape(PointCloud([[10, 0, 0], [30, 0, 0]])).points.tolist()
        [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    shape = turned_to_z(shape, up)
    if isinstance(shape, PointCloud):
        points = _in_unit_sphere(shape.points)
        return PointCloud(points, shape.normals, shape.notes + _far_points(points))
    shape, used = _with_area(shape)
    vertices, faces = _used(shape, used)
    mesh = Mesh(_in_unit_sphere(vertices), faces, shape.notes)
    area = _area(mesh.vertices, mesh.faces)  # twice
    if not area > _NO_AREA:
        raise _no_area(mesh.faces)
    if area < 2 * _HARDLY_SEEN:
        note = "it is thinner than a pixel, or most of it is small beside how far it reaches: pictures are nearly blank"
        mesh = replace(mesh, notes=(*mesh.notes, note))
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
        return replace(shape, vertices=_turned(shape.vertices))
    normals = None if shape.normals is None else _turned(shape.normals)
    return replace(shape, points=_turned(shape.points), normals=normals)


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


def without_far_flats(shape: Shape) -> Shape:
    """The mesh without its faces of no area if they reach beyond the others, with a note; else the shape as it is."""
    return shape if isinstance(shape, PointCloud) else _with_area(shape)[0]


def _with_area(mesh: Mesh) -> tuple[Mesh, NDArray[np.bool_]]:
    """The mesh without far flats, and which of its vertices are used."""
    used, solid = np.zeros((2, len(mesh.vertices)), dtype=bool)  # of any face; of one with area
    flat = _mark(mesh.vertices, mesh.faces, used, solid)
    if flat == len(mesh.faces):
        _in_unit_sphere(mesh.vertices[used])  # refuses what is in one place
        raise _no_area(mesh.faces)
    if flat == 0 or _within(mesh.vertices, used, solid):
        return mesh, used
    faces = mesh.faces[_has_area(mesh.vertices, mesh.faces)]
    note = f"{flat:,} of {len(mesh.faces):,} faces have no area and reach beyond the others; they are left out"
    return Mesh(mesh.vertices, faces, (*mesh.notes, note)), solid


def _used(mesh: Mesh, used: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if used.all():
        return mesh.vertices, mesh.faces
    return mesh.vertices[used], (np.cumsum(used) - 1)[mesh.faces]


def _within(vertices: NDArray[np.float64], used: NDArray[np.bool_], solid: NDArray[np.bool_]) -> bool:
    """Whether the box around the used vertices is that around those of faces with area."""
    whole, part = _bounds(vertices[used]), _bounds(vertices[solid])
    return bool((whole[0] == part[0]).all() and (whole[1] == part[1]).all())


def _far_points(points: NDArray[np.float64]) -> tuple[str, ...]:
    """A note if nearly all points of a cloud in the unit sphere are within a small part of it."""
    if len(points) < 50:
        return ()
    low, high = np.quantile(points[:: -(-len(points) // _LOOKED_AT)], [0.01, 0.99], axis=0)
    ends = _bounds(points)
    side, whole = (high - low).max(), (ends[1] - ends[0]).max()
    if side >= _BULK * whole:
        return ()
    return (
        f"98 % of its {len(points):,} points are within {side / whole:.2g} of its width, and a few far from all others: "
        "pictures are nearly blank; remove those that do not belong to it",
    )


def _no_area(faces: NDArray[np.int64]) -> ShapeError:
    return ShapeError(
        f"its {len(faces):,} faces have no area (the corners of each lie on a line), so nothing can be seen; "
        "leave the file out"
    )


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


@njit(cache=True)
def _is_flat(vertices: NDArray[np.float64], a: int, b: int, c: int) -> bool:
    """Whether a triangle has no area but what rounding gave it, whatever its size."""
    x, y, z = 0.5 * vertices[a, 0], 0.5 * vertices[a, 1], 0.5 * vertices[a, 2]  # or differences may overflow
    ux, uy, uz = 0.5 * vertices[b, 0] - x, 0.5 * vertices[b, 1] - y, 0.5 * vertices[b, 2] - z
    vx, vy, vz = 0.5 * vertices[c, 0] - x, 0.5 * vertices[c, 1] - y, 0.5 * vertices[c, 2] - z
    size = max(max(abs(ux), abs(uy), abs(uz)), max(abs(vx), abs(vy), abs(vz)))
    if size == 0.0:
        return True
    unit = 1.0 / size
    if unit == np.inf:  # denormal
        return True
    ux, uy, uz, vx, vy, vz = ux * unit, uy * unit, uz * unit, vx * unit, vy * unit, vz * unit
    square = (uy * vz - uz * vy) ** 2 + (uz * vx - ux * vz) ** 2 + (ux * vy - uy * vx) ** 2
    bound = 1e-12 + 8.0 * _EPS * max(abs(x), abs(y), abs(z)) * unit  # of the height, in lengths of the longest edge
    return not square > bound * bound


@njit(cache=True)
def _mark(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], used: NDArray[np.bool_], solid: NDArray[np.bool_]
) -> int:
    """Mark the vertices that faces use, and that faces with area use; how many faces have none."""
    flat = 0
    for i in range(len(faces)):
        a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
        used[a] = used[b] = used[c] = True
        if _is_flat(vertices, a, b, c):
            flat += 1
        else:
            solid[a] = solid[b] = solid[c] = True
    return flat


@njit(cache=True)
def _has_area(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which triangles have an area, (m,)."""
    found = np.empty(len(faces), dtype=np.bool_)
    for i in range(len(faces)):
        found[i] = not _is_flat(vertices, faces[i, 0], faces[i, 1], faces[i, 2])
    return found
