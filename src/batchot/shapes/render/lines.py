"""Line drawings: where a shape ends, hides itself or is bent, drawn from the depths and normals of the samples."""

from __future__ import annotations

import math

import numpy as np

from batchot.compiling import njit
from batchot.shapes.render.shading import depth_of_level, unpack_normal

CREASE_DEGREES = 38.0
"""Neighbouring samples whose normals differ by more lie on two sides of a crease. Facets that stand for a smooth
surface differ by less: a cylinder of ten sides, 36 degrees, is drawn as a round one."""
STEP = 3.0
"""Neighbouring samples, one behind the plane of the other and the other before its, lie on surfaces of which one
hides the other, if they are farther from these planes than this many widths of a sample."""
CREASE_COSINE = math.cos(math.radians(CREASE_DEGREES))
NO_CREASE = -2.0
"""A cosine that no two normals fall below."""
OUTLINE, STEP_EDGE, CREASE = 1, 2, 4
"""Bits of a sample: it is the last one of the shape, it hides another part of the shape, the surface is bent here."""
CONTOUR = OUTLINE | STEP_EDGE


@njit(cache=True, nogil=True)
def find_lines(buffer, samples, low, high, distance, extent, least_step, cosine):  # type: ignore[no-untyped-def]
    """Which samples are on a line, and of which kind: ``OUTLINE``, ``STEP_EDGE`` and ``CREASE``."""
    places, normals, seen = _surface(buffer, samples, low, high, distance, extent)
    marks = np.zeros((samples, samples), np.uint8)
    step = max(STEP * 2.0 * extent / samples, least_step)
    for i in range(samples):
        for j in range(samples):
            here = seen[i, j]
            if here and (i == 0 or j == 0 or i == samples - 1 or j == samples - 1):
                marks[i, j] |= np.uint8(OUTLINE)
            if j + 1 < samples and (here or seen[i, j + 1]):
                _compare(places, normals, seen, i, j, i, j + 1, step, cosine, marks)
            if i + 1 < samples and (here or seen[i + 1, j]):
                _compare(places, normals, seen, i, j, i + 1, j, step, cosine, marks)
    return marks


@njit(cache=True, nogil=True)
def _surface(buffer, samples, low, high, distance, extent):  # type: ignore[no-untyped-def]
    """Place and normal in the camera's frame of what every sample sees, and whether it sees anything."""
    places = np.empty((samples, samples, 3), np.float32)  # written where something is seen
    normals = np.empty((samples, samples, 3), np.float32)
    seen = np.zeros((samples, samples), np.bool_)
    for i in range(samples):
        for j in range(samples):
            key = buffer[i * samples + j]
            level = key >> np.uint64(40)
            if level == np.uint64(0):
                continue
            z = depth_of_level(level, low, high, distance)
            spread = extent * (1.0 - z / distance)
            places[i, j, 0] = (2.0 * (j + 0.5) / samples - 1.0) * spread
            places[i, j, 1] = (1.0 - 2.0 * (i + 0.5) / samples) * spread
            places[i, j, 2] = z
            normals[i, j, 0], normals[i, j, 1], normals[i, j, 2] = unpack_normal(key)
            seen[i, j] = True
    return places, normals, seen


@njit(cache=True, nogil=True)
def _compare(places, normals, seen, i, j, row, column, step, cosine, marks):  # type: ignore[no-untyped-def]
    """Mark two neighbours of which at least one sees the shape."""
    if not seen[row, column]:
        marks[i, j] |= np.uint8(OUTLINE)
        return
    if not seen[i, j]:
        marks[row, column] |= np.uint8(OUTLINE)
        return
    dx = places[row, column, 0] - places[i, j, 0]
    dy = places[row, column, 1] - places[i, j, 1]
    dz = places[row, column, 2] - places[i, j, 2]
    ax, ay, az = normals[i, j, 0], normals[i, j, 1], normals[i, j, 2]
    bx, by, bz = normals[row, column, 0], normals[row, column, 1], normals[row, column, 2]
    # How far each is above the plane of the other; unlike the difference of depths it does not grow with the slope.
    above_a = ax * dx + ay * dy + az * dz
    above_b = -(bx * dx + by * dy + bz * dz)
    # Both above or both below: the planes meet between the two, in a fold of the surface and not a step of it.
    if above_a * above_b < 0 and max(abs(above_a), abs(above_b)) > step:
        if dz > 0:
            marks[row, column] |= np.uint8(STEP_EDGE)
        else:
            marks[i, j] |= np.uint8(STEP_EDGE)
    elif ax * bx + ay * by + az * bz < cosine:
        marks[i, j] |= np.uint8(CREASE)
        marks[row, column] |= np.uint8(CREASE)


@njit(cache=True, nogil=True)
def line_pixels(marks, kinds, antialias, pixels):  # type: ignore[no-untyped-def]
    """Black lines on white: contours a pixel and a half wide, creases one pixel."""
    size = pixels.shape[0]
    samples = size * antialias
    reach = antialias // 2  # contours are widened by half a pixel
    contours, creases = np.uint8(kinds & CONTOUR), np.uint8(kinds & CREASE)
    black = np.zeros((samples, samples), np.bool_)
    for i in range(samples):
        for j in range(samples):
            mark = marks[i, j]
            if mark == 0:
                continue
            if mark & creases:
                black[i, j] = True
            if mark & contours:
                for k in range(max(i - reach, 0), min(i + reach + 1, samples)):
                    left = reach - abs(k - i)
                    for column in range(max(j - left, 0), min(j + left + 1, samples)):
                        black[k, column] = True
    count = antialias * antialias
    for i in range(size):
        for j in range(size):
            total = 0
            for k in range(i * antialias, (i + 1) * antialias):
                for column in range(j * antialias, (j + 1) * antialias):
                    total += black[k, column]
            pixels[i, j] = 255 - (255 * total + count // 2) // count
