"""Planes fitted to the points around each place of a depth image: they smooth the depth and give the normal.

Source: moving least squares, Alexa et al., Computing and Rendering Point Set Surfaces, TVCG 2003.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_RIDGE = 0.002  # of the squared radius: keeps points on a line from giving a slope across it
_STEEPEST = 8.0  # slope of a fitted plane


@njit(cache=True, nogil=True)
def fit_sums(places, normals, z, reach, step):  # type: ignore[no-untyped-def]
    """Of every cell of step x step samples: sums over the points on the surface that it sees, the nearest most.

    Returns:
        (cells, cells, 12): weight; x, y; xx, xy, yy; z, xz, yz of the points, with x and y from the middle of the
        cell; and their normals.
    """
    cells = (len(z) + step - 1) // step
    fits = np.zeros((cells, cells, 12), np.float64)
    top_of = np.full((cells, cells), -np.inf, np.float32)
    for i in range(len(z)):
        for j in range(len(z)):
            top_of[i // step, j // step] = max(top_of[i // step, j // step], z[i, j])
    half = 0.5 * (step - 1)
    for p in range(len(places)):
        column, row, depth = places[p]
        first, last = (
            max(math.ceil((row - reach - half) / step), 0),
            min((row + reach - half) / step, cells - 1.0),
        )
        left, right = (
            max(math.ceil((column - reach - half) / step), 0),
            min((column + reach - half) / step, cells - 1.0),
        )
        for i in range(first, math.floor(last) + 1):
            for j in range(left, math.floor(right) + 1):
                x, y = column - j * step - half, row - i * step - half
                behind = top_of[i, j] - depth
                off = (x * x + y * y + behind * behind) / (reach * reach)
                if off < 1.0:  # not in an empty cell either, whose depth is -inf
                    w = (1.0 - off) * (1.0 - off)
                    sums = fits[i, j]
                    sums[0] += w
                    sums[1] += w * x
                    sums[2] += w * y
                    sums[3] += w * x * x
                    sums[4] += w * x * y
                    sums[5] += w * y * y
                    sums[6] += w * depth
                    sums[7] += w * x * depth
                    sums[8] += w * y * depth
                    if len(normals) > 0:
                        sums[9] += w * normals[p, 0]
                        sums[10] += w * normals[p, 1]
                        sums[11] += w * normals[p, 2]
    return fits


@njit(cache=True, nogil=True)
def fit_planes(fits, step, reach, distance, unit, side):  # type: ignore[no-untyped-def]
    """Of every cell: depth in its middle, slopes to the right and down, unit normal; (cells, cells, 6).

    A cell to which no point speaks has a normal of zero.
    """
    planes = np.zeros((*fits.shape[:2], 6), np.float64)
    for i in range(len(fits)):
        for j in range(len(fits)):
            sums = fits[i, j]
            w = sums[0]
            if w < 1e-3:
                continue
            x, y, mean = sums[1] / w, sums[2] / w, sums[6] / w
            ridge = _RIDGE * reach * reach
            xx, yy, xy = sums[3] / w - x * x + ridge, sums[5] / w - y * y + ridge, sums[4] / w - x * y
            xz, yz = sums[7] / w - x * mean, sums[8] / w - y * mean
            over = 1.0 / (xx * yy - xy * xy)
            right = min(max((xz * yy - yz * xy) * over, -_STEEPEST), _STEEPEST)
            down = min(max((yz * xx - xz * xy) * over, -_STEEPEST), _STEEPEST)
            depth = mean - right * x - down * y
            a, b, c = sums[9], sums[10], sums[11]
            if a == 0.0 and b == 0.0 and c == 0.0:
                # Place of the cell in the plane through the origin, and how the point seen there moves with it.
                u, v = (j + 0.5) * step - 0.5 * side, 0.5 * side - (i + 0.5) * step
                inverse = 1.0 / (distance * unit)
                shrink = 1.0 - depth * inverse
                ux, uy, uz = shrink - right * u * inverse, -right * v * inverse, right
                vx, vy, vz = down * u * inverse, shrink + down * v * inverse, -down
                a, b, c = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            length = math.sqrt(a * a + b * b + c * c)
            if length > 0.0:
                plane = planes[i, j]
                plane[0], plane[1], plane[2] = depth, right, down
                plane[3], plane[4], plane[5] = a / length, b / length, c / length
    return planes
