"""Points drawn as disks: rendered clouds and splatted depth views."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from batchot.compiling import njit
from batchot.errors import require
from batchot.shapes.render.mesh import FARTHEST, LEVELS, NEAREST, STEPS, close, fill_pits, grow
from batchot.shapes.render.shading import fit_planes, fit_sums, grey, pack_normal


def splat_depth(
    points: NDArray[np.float32],
    rotations: NDArray[np.float64],
    *,
    distance: float = math.inf,
    extent: float = 1.0,
    size: int = 64,
    radius: float = 1.5,
) -> NDArray[np.uint8]:
    r"""Depth images of several point clouds from several cameras."""
    if points.ndim != 3 or points.shape[2] != 3:
        raise ValueError(f"points must have shape (b, n, 3), got {points.shape}")
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3):
        raise ValueError(f"rotations must have shape (v, 3, 3), got {rotations.shape}")
    if size < 1 or not radius > 0 or not extent > 0:
        raise ValueError(f"size, radius and extent must be positive, got {size}, {radius} and {extent}")
    if not distance > 1:
        raise ValueError(f"the eye must be outside the unit sphere, got distance {distance}")
    images = np.zeros((len(points), len(rotations), size, size), np.uint8)
    _splat(
        np.ascontiguousarray(points, np.float32),
        np.ascontiguousarray(rotations, np.float32),
        np.float32(0 if math.isinf(distance) else 1 / distance),
        np.float32(1 / extent),
        np.float32(radius),
        images,
    )
    return images


@njit(cache=True, nogil=True)
def _splat(points, rotations, inverse_distance, inverse_extent, radius, images):  # type: ignore[no-untyped-def]
    b, n = points.shape[:2]
    v, size = images.shape[1:3]
    one, half = np.float32(1), np.float32(size / 2)
    reach = radius * radius
    for job in range(b * v):
        shape, view = job // v, job % v
        image = images[shape, view]
        r = rotations[view]
        for i in range(n):
            x, y, z = points[shape, i, 0], points[shape, i, 1], points[shape, i, 2]
            qz = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
            s = inverse_extent / (one - inverse_distance * qz)
            column = ((r[0, 0] * x + r[0, 1] * y + r[0, 2] * z) * s + one) * half
            row = (one - (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z) * s) * half
            grey = min(max(np.float32(128.5) + np.float32(127) * qz, one), np.float32(255))
            value = np.uint8(grey)
            top = max(math.ceil(row - radius - 0.5), 0)
            bottom = min(math.floor(row + radius - 0.5), size - 1)
            left = max(math.ceil(column - radius - 0.5), 0)
            right = min(math.floor(column + radius - 0.5), size - 1)
            for k in range(top, bottom + 1):
                dy = np.float32(k + 0.5) - row
                for j in range(left, right + 1):
                    dx = np.float32(j + 0.5) - column
                    if dx * dx + dy * dy <= reach and image[k, j] < value:
                        image[k, j] = value


NEIGHBOURS = 8
WIDER = 1.25
"""The radius is the median distance to this neighbour, and this times wider: a random sample of a surface leaves a
disc as large as that empty once in e^(8 · 1.25²), 268 thousand, times."""
LARGEST = 0.2
"""The radius for a shape in the unit sphere with too few points to tell a surface."""
KEPT = 0.15
"""Part of the radius by which outlines stay outside the points, so that a thin row of points is still seen."""


def ball_radius(points: NDArray[np.float64]) -> float:
    """The radius of the balls that fill the gaps between points of a surface."""
    cKDTree = require("scipy.spatial").cKDTree

    places = np.unique(points, axis=0)
    distances, _ = cKDTree(places).query(places, k=[min(NEIGHBOURS + 1, len(places))])  # itself is the first
    return min(WIDER * float(np.median(distances)), LARGEST)


@njit(cache=True, nogil=True)
def draw_points(points, normals, radius, rotation, distance, extent, samples, background, buffer):  # type: ignore[no-untyped-def]
    """Write what a camera sees of a cloud into a buffer of samples x samples uint64 numbers, with normals."""
    unit = samples / (2.0 * extent)  # samples in a unit of length, in the plane through the origin
    lowest, highest = math.inf, -math.inf
    for p in range(len(points)):
        back = rotation[2, 0] * points[p, 0] + rotation[2, 1] * points[p, 1] + rotation[2, 2] * points[p, 2]
        lowest, highest = min(lowest, back), max(highest, back)
    ahead = 1.0 - highest / distance
    if not ahead >= NEAREST:
        return lowest, highest, ahead, 0.0
    reach = min(max(radius * unit / ahead, 1.0), 0.25 * samples)
    border = int(reach) + 1  # around the picture, so that its edge is no edge of the shape
    side = samples + 2 * border
    places = _place(points, rotation, distance, unit, side)
    farthest = np.abs(places).max() / samples if np.isfinite(places).all() else math.inf
    if not farthest <= FARTHEST:
        return lowest, highest, ahead, farthest
    z = grow(places, reach, side)
    fill_pits(z, max(int(reach / STEPS), 1))
    z = close(z, (1.0 - KEPT) * reach)
    for i in range(side):
        for j in range(side):
            z[i, j] -= np.float32(KEPT * reach)
    step = max(int(reach / 6.0), 1)
    half = 0.5 * (step - 1)
    fits = fit_sums(places, _turn(normals, points, rotation, distance), z, reach, step)
    planes = fit_planes(fits, step, reach, distance, unit, side)
    low = lowest if distance == math.inf else 1.0 / (1.0 - lowest / distance)
    high = highest if distance == math.inf else 1.0 / (1.0 - highest / distance)
    to_level = LEVELS / (high - low) if high > low else 0.0
    for i in range(samples):
        for j in range(samples):
            row, column = i + border, j + border
            if z[row, column] == -np.inf:
                buffer[i * samples + j] = background
                continue
            plane = planes[row // step, column // step]
            x, y, back, fitted = plane[3], plane[4], plane[5], np.float64(z[row, column])
            if x == 0.0 and y == 0.0 and back == 0.0:
                back = 1.0
            else:
                flat = plane[0] + plane[1] * (column % step - half) + plane[2] * (row % step - half)
                fitted = min(max(flat, fitted - 0.5 * reach), fitted + 0.5 * reach)
            depth = min(max(fitted / unit, lowest), highest)
            t = depth if distance == math.inf else 1.0 / (1.0 - depth / distance)
            level = np.uint64(min(max((t - low) * to_level, 0.0), LEVELS) + 1.0)
            code = (np.uint64(grey(abs(back))) << np.uint64(32)) | pack_normal(x, y, back)
            buffer[i * samples + j] = (level << np.uint64(40)) | code
    return low, high, ahead, farthest


@njit(cache=True, nogil=True)
def _place(points, r, distance, unit, samples):  # type: ignore[no-untyped-def]
    """Column, row and depth of points, all in samples, (n, 3)."""
    places = np.empty(points.shape, np.float64)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        back = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
        scale = unit / (1.0 - back / distance)
        places[p, 0] = 0.5 * samples - 0.5 + scale * (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z)
        places[p, 1] = 0.5 * samples - 0.5 - scale * (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z)
        places[p, 2] = back * unit
    return places


@njit(cache=True, nogil=True)
def _turn(normals, points, r, distance):  # type: ignore[no-untyped-def]
    """Unit normals in the camera's frame, turned towards the eye; zero where not known."""
    turned = np.zeros(normals.shape, np.float64)
    for p in range(len(normals)):
        x, y, z = normals[p, 0], normals[p, 1], normals[p, 2]
        length = math.sqrt(x * x + y * y + z * z)
        if length > 0.0:
            along = (x * points[p, 0] + y * points[p, 1] + z * points[p, 2]) / distance
            back = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
            side = (1.0 if back - along >= 0.0 else -1.0) / length
            turned[p, 0] = side * (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z)
            turned[p, 1] = side * (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z)
            turned[p, 2] = side * back
    return turned
