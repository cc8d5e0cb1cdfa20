"""Position, size and direction of a shape made those of every other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from batchot.compiling import njit
from batchot.errors import ShapeError
from batchot.shapes.shape import Bools, Floats, Ints, Mesh, PointCloud, Shape, Up

_NO_AREA = 1e-12  # of a mesh in the unit sphere: below it, rounding is all that keeps corners off a line
_EPS = float(np.finfo(np.float64).eps)
# Of a shape in the unit sphere, in a picture of 224 pixels: what covers less is a few dots.
# Area of both sides of a wire as long as the picture and a pixel thick, or of a ball of 14 pixels.
_HARDLY_SEEN = 0.05
_THIN = (
    "it is thinner than a pixel, or most of it is small beside how far it reaches: pictures are nearly blank"
)
_BULK = 1 / 16  # of the longest side of a cloud, that all but 2 % of its points are within
_LOOKED_AT, _PROBED = 4096, 24  # points of a cloud, to find out; and first


def normalize_shape(shape: Shape, up: Up = "auto") -> Shape:
    """The shape z up in the unit sphere, x -> (x - c) / max_i |x_i - c| with c the centre of the box of its area."""
    shape = turned_to_z(shape, up)
    if isinstance(shape, PointCloud):
        points = _in_unit_sphere(shape.points)
        return PointCloud(points, shape.normals, _with_note(shape, _far_points(points)))
    mesh, area, doubtful = _normalized(shape)
    if doubtful and (rest := without_far_flats(shape)) is not shape:
        assert isinstance(rest, Mesh)
        mesh, area, _ = _normalized(rest)
    if not area > _NO_AREA:
        raise ShapeError(
            f"its {len(mesh.faces):,} faces have no area (the corners of each lie on a line), so nothing can be seen; "
            "leave the file out"
        )
    return mesh if area >= 2 * _HARDLY_SEEN else replace(mesh, notes=_with_note(mesh, _THIN))


def turned_to_z(shape: Shape, up: Up) -> Shape:
    """The shape with z up, nothing else changed."""
    if up not in ("auto", "z", "y"):
        raise ShapeError(f"up must be 'auto', 'z' or 'y', got {up!r}")
    if up != "y":
        return shape
    if isinstance(shape, Mesh):
        return replace(shape, vertices=_turned(shape.vertices))
    normals = None if shape.normals is None else _turned(shape.normals)
    return replace(shape, points=_turned(shape.points), normals=normals)


def face_normals(vertices: Floats, faces: Ints) -> Floats:
    """Twice the area of each triangle, along its normal, (m, 3)."""
    first = vertices[faces[:, 0]]
    return np.cross(vertices[faces[:, 1]] - first, vertices[faces[:, 2]] - first)


def _turned(points: Floats) -> Floats:
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def without_far_flats(shape: Shape) -> Shape:
    """The mesh without its faces of no area if they reach beyond the others, with a note; else the shape as it is."""
    if isinstance(shape, PointCloud):
        return shape
    used, solid = np.zeros((2, len(shape.vertices)), dtype=bool)  # of any face; of one with area
    flat = np.empty(len(shape.faces), dtype=bool)
    _mark(shape.vertices, shape.faces, flat, used, solid)
    if not flat.any() or flat.all() or _within(shape.vertices, used, solid):
        return shape
    note = (
        f"{flat.sum():,} of {len(flat):,} faces have no area and reach beyond the others; they are left out"
    )
    return replace(shape, faces=shape.faces[~flat], notes=(*shape.notes, note))


def _normalized(mesh: Mesh) -> tuple[Mesh, float, int]:
    """The mesh of the vertices in use in the unit sphere, twice its area, and how many faces may have none."""
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    vertices, faces = mesh.vertices, mesh.faces
    if not used.all():
        vertices, faces = vertices[used], (np.cumsum(used) - 1)[faces]
    made = Mesh(_in_unit_sphere(vertices), faces, mesh.notes)
    return made, *_area(made.vertices, made.faces)


def _within(vertices: Floats, used: Bools, solid: Bools) -> bool:
    """Whether the box around the used vertices is that around those of faces with area."""
    whole, part = _bounds(vertices[used]), _bounds(vertices[solid])
    return bool((whole[0] == part[0]).all() and (whole[1] == part[1]).all())


def _with_note(shape: Shape, note: str) -> tuple[str, ...]:
    return (*shape.notes, note) if note and note not in shape.notes else shape.notes


def _far_points(points: Floats) -> str:
    """A note if nearly all points of a cloud in the unit sphere are within a small part of it, else nothing."""
    if len(points) < 50:
        return ""
    ends = _bounds(points)
    whole = (ends[1] - ends[0]).max()
    if _close_probes(points, _BULK * whole) < _PROBED // 2:  # as always, and much faster
        return ""
    low, high = np.quantile(points[:: -(-len(points) // _LOOKED_AT)], [0.01, 0.99], axis=0)
    side = (high - low).max()
    if side >= _BULK * whole:
        return ""
    return (
        f"98 % of its {len(points):,} points are within {100 * side / whole:.2g} % of its width, and a few far from "
        "all others: pictures are nearly blank; remove those that do not belong to it"
    )


def _in_unit_sphere(points: Floats) -> Floats:
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
def _bounds(points: Floats) -> tuple[Floats, Floats]:
    low = points[0].copy()
    high = points[0].copy()
    for i in range(1, len(points)):
        for axis in range(3):
            low[axis] = min(low[axis], points[i, axis])
            high[axis] = max(high[axis], points[i, axis])
    return low, high


@njit(cache=True)
def _close_probes(points: Floats, distance: float) -> int:
    """How many of some points are as near to the one before them."""
    step = len(points) // _PROBED
    close = 0
    for k in range(1, _PROBED):
        i, j = (k - 1) * step, k * step
        x, y, z = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1], points[i, 2] - points[j, 2]
        close += max(abs(x), abs(y), abs(z)) < distance
    return close


@njit(cache=True)
def _area(vertices: Floats, faces: Ints) -> tuple[float, int]:
    """Twice the area of all triangles, and how many are a million times as long as they are wide, or worse."""
    total = 0.0
    thin = 0
    for i in range(len(faces)):
        a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
        x, y, z = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - x, vertices[b, 1] - y, vertices[b, 2] - z
        vx, vy, vz = vertices[c, 0] - x, vertices[c, 1] - y, vertices[c, 2] - z
        square = (uy * vz - uz * vy) ** 2 + (uz * vx - ux * vz) ** 2 + (ux * vy - uy * vx) ** 2
        longest = ux * ux + uy * uy + uz * uz + (vx * vx + vy * vy + vz * vz)
        thin += not square > 1e-12 * longest * longest
        total += np.sqrt(square)
    return total, thin


@njit(cache=True)
def _mark(vertices: Floats, faces: Ints, flat: Bools, used: Bools, solid: Bools) -> None:
    """Find the triangles that have no area but what rounding gave them, whatever their size, and mark the vertices
    that triangles use, and that triangles with area use."""
    for i in range(len(faces)):
        a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
        used[a] = used[b] = used[c] = True
        x, y, z = 0.5 * vertices[a, 0], 0.5 * vertices[a, 1], 0.5 * vertices[a, 2]  # or differences overflow
        ux, uy, uz = 0.5 * vertices[b, 0] - x, 0.5 * vertices[b, 1] - y, 0.5 * vertices[b, 2] - z
        vx, vy, vz = 0.5 * vertices[c, 0] - x, 0.5 * vertices[c, 1] - y, 0.5 * vertices[c, 2] - z
        size = max(max(abs(ux), abs(uy), abs(uz)), max(abs(vx), abs(vy), abs(vz)))
        flat[i] = True
        if size > 0.0:
            ux, uy, uz, vx, vy, vz = ux / size, uy / size, uz / size, vx / size, vy / size, vz / size
            square = (uy * vz - uz * vy) ** 2 + (uz * vx - ux * vz) ** 2 + (ux * vy - uy * vx) ** 2
            rounding = 1e-12 + 8.0 * _EPS * (max(abs(x), abs(y), abs(z)) / size)
            flat[i] = not square > rounding * rounding
        if not flat[i]:
            solid[a] = solid[b] = solid[c] = True
