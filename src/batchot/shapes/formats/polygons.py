"""Polygons of any number of corners to triangles: convex ones as fans, all others by clipping ears.

A polygon is looked at along the axis in which its normal (Newell's) is longest, which keeps the coordinates as they
are. Clipping an ear leaves the winding number of all other points as it was. So the triangles tile the polygon as soon
as none of them is turned over, whatever the order, and this holds as well for outlines that touch themselves: windows
that a bridge of two equal edges joins to the outline, corners that occur twice, spikes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.shape import Bools, Floats, Ints, Mesh, finite_mesh

_ROUNDING = 3.4e-16  # of a cross product, relative to its two terms: below it, three points lie on a line
# Twice the area, in a square of side 1, below which three points lie on a line. The first does for outlines that do not
# cross themselves; the others for those whose touching parts cross by the rounding of their coordinates.
_TOLERANCES = (0.0, 1e-14, 1e-11, 1e-8, 1e-6)
_GOOD = 1e-10  # area of triangles that are turned over, as a part of that of the polygon
_MOST_STEPS = 200_000_000  # tests of a corner against an ear, in a file: some seconds


def triangulate(values: Floats | Ints, firsts: Ints, corners: Ints, vertices: Floats) -> Ints:
    """Cut polygons into triangles; fewer than three corners have no area and are left out."""
    flat = np.empty(int(corners.sum()), dtype=np.int64)
    bad, wrong = _gather(values, firsts, corners, len(vertices), flat)
    if bad >= 0:
        raise ShapeError(
            f"face {bad} (counted from 0) names vertex {wrong:g}, which is not one of 0 to {len(vertices) - 1}; "
            "the file is damaged: restore it"
        )
    return cut_polygons(flat, corners, vertices)


def cut_polygons(flat: Ints, corners: Ints, vertices: Floats) -> Ints:
    """As ``triangulate``, for valid indices of one polygon after the other, (sum of corners,)."""
    if len(corners) and corners.min() == 3 == corners.max():
        return flat.reshape(-1, 3)
    faces = np.empty((int(np.maximum(corners - 2, 0).sum()), 3), dtype=np.int64)
    count, bad = _cut(flat, corners, np.ascontiguousarray(vertices, dtype=np.float64), faces, _MOST_STEPS)
    if bad >= 0:
        raise ShapeError(
            f"cutting its polygons into triangles takes too long (face {bad}, counted from 0, has {corners[bad]:,} "
            "corners); save the shape as triangles"
        )
    return faces[:count]


def polygon_mesh(flat: Ints, corners: Ints, vertices: Floats) -> Mesh:
    """The mesh of polygons with valid indices; of those without an area by their corners its notes tell."""
    faces = cut_polygons(flat, corners, vertices)
    if not len(faces):
        raise ShapeError(
            "there are no faces of three corners or more; save points without a surface as .ply or .xyz"
        )
    return finite_mesh(vertices, faces, too_few(corners))


def too_few(corners: Ints) -> tuple[str, ...]:
    """A note where polygons have fewer than three corners, of which no triangle is made."""
    n = int((corners < 3).sum())
    return (f"{n:,} of {len(corners):,} faces have fewer than three corners and are left out",) if n else ()


def mirrors(matrices: Floats) -> Bools:
    """Which of the transforms (..., 4, 4) mirror: triangles must then turn the other way to face the same side."""
    inverted: Bools = np.linalg.slogdet(matrices[..., :3, :3])[0] < 0
    return inverted


def strip_triangles(values: NDArray[Any]) -> NDArray[Any]:
    """The triangles of strips of vertices, (m, 3), all with the same side in front; a negative index ends a strip."""
    if len(values) < 3:
        return np.empty((0, 3), dtype=values.dtype)
    positions = np.arange(len(values))
    begins = np.maximum.accumulate(np.where(values < 0, positions + 1, 0))  # of the strip that each is in
    triangles = np.stack([values[:-2], values[1:-1], values[2:]], axis=1)  # (k - 2, 3)
    odd = (positions[2:] - begins[2:]) % 2 == 1
    triangles[odd] = triangles[odd][:, [1, 0, 2]]
    return triangles[positions[2:] - begins[2:] >= 2]


@njit(cache=True)
def _gather(values: Floats, firsts: Ints, corners: Ints, n_vertices: int, flat: Ints) -> tuple[int, float]:
    k = 0
    for p in range(len(firsts)):
        first = firsts[p]
        for j in range(corners[p]):
            value = values[first + j]
            index = int(value) if 0 <= value < n_vertices else -1
            if index < 0 or index != value:
                return p, float(value)
            flat[k] = index
            k += 1
    return -1, 0.0


@njit(cache=True)
def _cut(flat: Ints, corners: Ints, vertices: Floats, faces: Ints, steps: int) -> tuple[int, int]:
    """Fill in the triangles; how many there are, and the polygon at which ``steps`` ran out or -1."""
    k = 0
    first = 0
    for p in range(len(corners)):
        n = corners[p]
        begin, first = first, first + n
        if n < 3:
            continue
        if n > 4:
            k, steps = _cut_one(vertices, flat[begin:first], faces, k, steps)
            if steps < 0:
                return k, p
            continue
        a, b, c = flat[begin], flat[begin + 1], flat[begin + 2]
        if n == 4:
            d = flat[begin + 3]
            turned = _quad(vertices, a, b, c, d)
            if turned < 0:
                k, steps = _cut_one(vertices, flat[begin:first], faces, k, steps)
                continue
            if turned == 1:
                a, b, c, d = b, c, d, a
            faces[k, 0], faces[k, 1], faces[k, 2] = a, b, c
            k += 1
            b, c = c, d
        faces[k, 0], faces[k, 1], faces[k, 2] = a, b, c
        k += 1
    return k, -1


@njit(cache=True)
def _quad(vertices: Floats, a: int, b: int, c: int, d: int) -> int:
    """At which corner the diagonal of a quadrilateral begins, 0 or 1; -1 where that takes a closer look."""
    x, y, z = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    ux, uy, uz = vertices[c, 0] - x, vertices[c, 1] - y, vertices[c, 2] - z
    bx, by, bz = vertices[b, 0] - x, vertices[b, 1] - y, vertices[b, 2] - z
    dx, dy, dz = vertices[d, 0] - x, vertices[d, 1] - y, vertices[d, 2] - z
    wx, wy, wz = dx - bx, dy - by, dz - bz
    nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
    if not 1e-150 < nx * nx + ny * ny + nz * nz < 1e150:
        return -1
    # How far b and d lie to both sides of the diagonal from a to c, seen along the normal.
    sx, sy, sz = ny * uz - nz * uy, nz * ux - nx * uz, nx * uy - ny * ux
    return 0 if sx * bx + sy * by + sz * bz <= 0.0 <= sx * dx + sy * dy + sz * dz else 1


@njit(cache=True)
def _turn(x: Floats, y: Floats, a: int, b: int, c: int, least: float) -> float:
    """Twice the area of a triangle, positive where it turns to the left; 0 where rounding may decide its sign."""
    one = (x[b] - x[a]) * (y[c] - y[a])
    two = (y[b] - y[a]) * (x[c] - x[a])
    return one - two if abs(one - two) > _ROUNDING * (abs(one) + abs(two)) + least else 0.0


@njit(cache=True)
def _cut_one(vertices: Floats, polygon: Ints, faces: Ints, k: int, steps: int) -> tuple[int, int]:
    """Append the triangles of a polygon from face ``k`` on; the number of faces then, and of steps left."""
    n = len(polygon)
    x, y = _flattened(vertices, polygon)
    area = 0.0  # twice that of the polygon
    covered = 0.0  # twice that of the triangles of a fan
    for j in range(1, n - 1):
        turn = _turn(x, y, 0, j, j + 1, 0.0)
        area += turn
        covered += abs(turn)
    least = covered - area
    best = -1.0  # the fan
    if least > _GOOD * area:
        for tolerance in _TOLERANCES:
            end, covered, steps = _clip(x, y, polygon, faces, k, steps, tolerance)
            surplus = abs(covered - area)
            if steps < 0 or surplus <= _GOOD * area:
                return end, steps
            if surplus < least:
                least, best = surplus, tolerance
    if best >= 0.0:  # an outline that crosses itself
        end, _, steps = _clip(x, y, polygon, faces, k, steps, best)
        return end, steps
    for j in range(1, n - 1):
        faces[k, 0] = polygon[0]
        faces[k, 1] = polygon[j]
        faces[k, 2] = polygon[j + 1]
        k += 1
    return k, steps


@njit(cache=True)
def _flattened(vertices: Floats, polygon: Ints) -> tuple[Floats, Floats]:
    """Two coordinates of the corners such that the polygon turns to the left; zeros if it has no area."""
    n = len(polygon)
    x = np.zeros(n)
    y = np.zeros(n)
    points = np.empty((n, 3))
    for j in range(n):
        for axis in range(3):
            points[j, axis] = vertices[polygon[j], axis]
    points = _unit(points)
    normal = np.zeros(3)
    for j in range(1, n - 1):
        u = points[j] - points[0]
        w = points[j + 1] - points[0]
        normal[0] += u[1] * w[2] - u[2] * w[1]
        normal[1] += u[2] * w[0] - u[0] * w[2]
        normal[2] += u[0] * w[1] - u[1] * w[0]
    along = np.argmax(np.abs(normal))
    if not abs(normal[along]) > 0.0:  # also where it is not finite
        return x, y
    right, up = (along + 1) % 3, (along + 2) % 3
    if normal[along] < 0.0:
        right, up = up, right
    for j in range(n):
        x[j] = points[j, right]
        y[j] = points[j, up]
    return x, y


@njit(cache=True)
def _unit(points: Floats) -> Floats:
    """The points moved to the origin and scaled to about 1, by powers of two, which round nothing."""
    for _ in range(2):  # of large coordinates the differences would overflow, so these are scaled before
        largest = np.max(np.abs(points))
        if not 0.0 < largest < np.inf:
            break
        points = points * 2.0 ** -max(min(math.frexp(largest)[1], 1000), -1000)
        points = points - points[0]
    return points


@njit(cache=True)
def _clip(
    x: Floats, y: Floats, polygon: Ints, faces: Ints, k: int, steps: int, least: float
) -> tuple[int, float, int]:
    """Append the ears of a polygon that turns to the left until nothing is left of it."""
    n = len(polygon)
    before = np.arange(-1, n - 1)
    before[0] = n - 1
    after = np.arange(1, n + 1)
    after[n - 1] = 0
    # Only a corner that does not turn to the left can lie in an ear.
    reflex = np.empty(n, np.bool_)
    for j in range(n):
        a, c = before[j], after[j]
        reflex[j] = not _turn(x, y, a, j, c, least) > 0.0
    blocker = np.full(n, -1)
    left = n
    grid, heads, links = _sorted_in(x, y, after, reflex, 0, left)
    sorted_for = left
    b = 0
    refused = 0  # corners since the last ear
    total = 0.0
    while left > 2 and steps >= 0:
        if 2 * left < sorted_for:
            grid, heads, links = _sorted_in(x, y, after, reflex, b, left)
            sorted_for = left
        a, c = before[b], after[b]
        turn = _turn(x, y, a, b, c, least)
        ear = turn == 0.0
        steps -= 1
        if turn > 0.0:
            q = blocker[b]  # the corner that was in the way before is so most of the time
            if q < 0 or not (reflex[q] and _blocks(x, y, before, after, a, b, c, q, least)):
                blocker[b], used = _blocker(x, y, before, after, reflex, a, b, c, grid, heads, links, least)
                steps -= used
            ear = blocker[b] < 0
        if not ear:
            refused += 1
            b = c
            if refused < left:
                continue
            # The outline crosses itself. What is smallest does least harm, and is all where rounding made it cross.
            smallest = np.inf
            for _ in range(left):
                size = abs(_turn(x, y, before[c], c, after[c], 0.0))
                if size < smallest:
                    smallest = size
                    b = c
                c = after[c]
            steps -= left
            a, c = before[b], after[b]
            turn = _turn(x, y, a, b, c, least)
        if turn != 0.0:
            faces[k, 0] = polygon[a]
            faces[k, 1] = polygon[b]
            faces[k, 2] = polygon[c]
            k += 1
            total += abs(turn)
        after[a] = c
        before[c] = a
        reflex[b] = False
        left -= 1
        refused = 0
        for j in (a, c):
            reflex[j] = not _turn(x, y, before[j], j, after[j], least) > 0.0
        b = after[c] if turn != 0.0 else c  # every other corner, so that the triangles do not become needles
    return k, total, steps


@njit(cache=True)
def _sorted_in(
    x: Floats, y: Floats, after: Ints, reflex: Bools, start: int, left: int
) -> tuple[tuple[float, float, float, float, int], Ints, Ints]:
    """A grid over the polygon: its place, and lists of the reflex corners in each of its cells."""
    low_x = high_x = x[start]
    low_y = high_y = y[start]
    count = 0
    j = start
    for _ in range(left):
        low_x, high_x = min(low_x, x[j]), max(high_x, x[j])
        low_y, high_y = min(low_y, y[j]), max(high_y, y[j])
        count += reflex[j]
        j = after[j]
    cells = max(1, int(math.sqrt(count / 4)))
    per_x = cells / (high_x - low_x) if high_x - low_x > 1e-300 else 0.0
    per_y = cells / (high_y - low_y) if high_y - low_y > 1e-300 else 0.0
    grid = (low_x, low_y, per_x, per_y, cells)
    heads = np.full(cells * cells, -1)
    links = np.full(len(x), -1)
    for _ in range(left):
        if reflex[j]:
            cell = _cell(x[j], low_x, per_x, cells) * cells + _cell(y[j], low_y, per_y, cells)
            links[j] = heads[cell]
            heads[cell] = j
        j = after[j]
    return grid, heads, links


@njit(cache=True)
def _cell(value: float, low: float, per: float, cells: int) -> int:
    return min(max(int((value - low) * per), 0), cells - 1)


@njit(cache=True)
def _blocker(
    x: Floats,
    y: Floats,
    before: Ints,
    after: Ints,
    reflex: Bools,
    a: int,
    b: int,
    c: int,
    grid: tuple[float, float, float, float, int],
    heads: Ints,
    links: Ints,
    least: float,
) -> tuple[int, int]:
    """A corner at which an edge of the polygon enters the triangle a b c, -1 if none does; and how many were tested."""
    low_x, low_y, per_x, per_y, cells = grid
    first_row = _cell(min(x[a], x[b], x[c]), low_x, per_x, cells)
    last_row = _cell(max(x[a], x[b], x[c]), low_x, per_x, cells)
    first_column = _cell(min(y[a], y[b], y[c]), low_y, per_y, cells)
    last_column = _cell(max(y[a], y[b], y[c]), low_y, per_y, cells)
    steps = 0
    for row in range(first_row, last_row + 1):
        for column in range(first_column, last_column + 1):
            steps += 1
            q = heads[row * cells + column]
            while q >= 0:
                steps += 1
                if reflex[q] and _blocks(x, y, before, after, a, b, c, q, least):
                    return q, steps
                q = links[q]
    return -1, steps


@njit(cache=True)
def _blocks(
    x: Floats, y: Floats, before: Ints, after: Ints, a: int, b: int, c: int, q: int, least: float
) -> bool:
    """Whether corner q lies in the triangle a b c, which turns to the left, or on its border with an edge inwards."""
    if q in (a, c):
        return False
    at_ab = _turn(x, y, a, b, q, least)
    if at_ab < 0.0:
        return False
    at_bc = _turn(x, y, b, c, q, least)
    if at_bc < 0.0:
        return False
    at_ca = _turn(x, y, c, a, q, least)
    if at_ca < 0.0:
        return False
    for w in (before[q], after[q]):
        if (
            (at_ab > 0.0 or _turn(x, y, a, b, w, least) > 0.0)
            and (at_bc > 0.0 or _turn(x, y, b, c, w, least) > 0.0)
            and (at_ca > 0.0 or _turn(x, y, c, a, w, least) > 0.0)
        ):
            return True
    return False
