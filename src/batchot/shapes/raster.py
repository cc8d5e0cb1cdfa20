"""A z-buffer over triangles: for every sample of a picture how near the surface is, and a code of its face.

One sample is one unsigned number: the depth, 24 bits, above a code of the face that is seen. The nearest face is
then the largest number, whatever the order of the faces, and of two equally near faces the same one always
wins: the pixels depend on nothing but the surface. The code is 8 bits of grey, and below that 32 bits of normal
where the picture needs it.

Source: the half-space and scan-line rules of Pineda, A Parallel Algorithm for Polygon Rasterization, SIGGRAPH 1988.
"""

from __future__ import annotations

import math

import numpy as np

from batchot.compiling import njit
from batchot.shapes.lanes import LANES, nearer

SNAP = 256.0
"""Corners are rounded to this fraction of a sample: what is at one place then has one address exactly."""
LEVELS = float(2**24 - 3)
"""Depths between the farthest corner, 1, and the nearest; 0 is the background."""
NEAREST = 1e-3
"""Nothing may be nearer to the eye than this part of the eye's distance from the origin."""
FARTHEST = 250.0
"""No corner may be farther away than this many pictures, or its address is no longer exact."""
_ROUND_UP = 1.0 - 2.0**-30
"""Added before cutting off: what is on a sample within rounding counts as on it. The least that a snapped edge can
be off a sample, one part in 256 times its height, is more."""
_ON_EDGE = 2.0**-20  # less than any product of two snapped steps
_FEW = 4  # samples in the box around a triangle up to which they are tried one by one


@njit(cache=True, nogil=True)
def project(vertices, rotation, distance, extent, samples, corners, cells):  # type: ignore[no-untyped-def]
    """Where the vertices are in a picture of samples x samples.

    Writes column, row and depth in levels to ``corners`` (3, n), and the first column and row of samples that are
    not before the vertex to ``cells`` (2, n). Depth is s = distance / (distance - q.z), or q.z of an
    orthographic camera, because that is linear along a plane in the picture.

    Returns:
        The depths of level 1 and of the last level; the least of 1 - q.z / distance, which must not be less than
        ``NEAREST``, else nothing is written; and the largest coordinate, of either sign,
        in pictures, which must not be more than ``FARTHEST``.
    """
    n = vertices.shape[0]
    r = rotation
    inverse = 1.0 / distance  # 0 if orthographic
    low, high = math.inf, -math.inf
    for i in range(n):
        qz = r[2, 0] * vertices[i, 0] + r[2, 1] * vertices[i, 1] + r[2, 2] * vertices[i, 2]
        low = min(low, qz)
        high = max(high, qz)
    ahead = 1.0 - high * inverse
    if not ahead >= NEAREST:
        return low, high, ahead, 0.0
    if inverse > 0:
        low, high = 1.0 / (1.0 - low * inverse), 1.0 / ahead
    to_level = LEVELS / (high - low) if high > low else 0.0
    scale = 0.5 * samples / extent * SNAP
    middle = (0.5 * samples - 0.5) * SNAP + 0.5  # sample centres are whole numbers; 0.5 rounds
    last = np.float32(samples)
    farthest, near = 0.0, 0
    limit = FARTHEST * samples * SNAP
    for i in range(n):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        qx = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z
        qy = r[1, 0] * x + r[1, 1] * y + r[1, 2] * z
        qz = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
        s = 1.0 / (1.0 - qz * inverse)
        t = s if inverse > 0 else qz
        column, row = middle + scale * s * qx, middle - scale * s * qy
        farthest = max(farthest, abs(column), abs(row))
        near += (abs(column) <= limit) & (abs(row) <= limit)
        corners[0, i] = np.float32(np.floor(column)) * np.float32(1 / SNAP)
        corners[1, i] = np.float32(np.floor(row)) * np.float32(1 / SNAP)
        corners[2, i] = np.float32(min(max((t - low) * to_level, 0.0), LEVELS) + 1.0)
    if near < n:  # what is not a number is not near either
        return low, high, ahead, max(farthest / (SNAP * samples), 2.0 * FARTHEST)
    for i in range(n):
        cells[0, i] = np.int32(min(max(np.ceil(corners[0, i]), np.float32(0)), last))
        cells[1, i] = np.int32(min(max(np.ceil(corners[1, i]), np.float32(0)), last))
    return low, high, ahead, farthest / (SNAP * samples)


@njit(cache=True, nogil=True)
def fill(ordered, corners, cells, codes, samples, buffer):  # type: ignore[no-untyped-def]
    """Write every triangle into the buffer of samples x samples numbers and LANES to spare.

    Args:
        ordered: corners of faces, (m, 3) int32, by ``facets.sort_corners``.
        corners, cells: of the vertices, (3, n) float32 and (2, n) int32, by ``project``.
        codes: of the faces, (m,), of the buffer's type; a face of code 0 is left out.
        samples: width and height.
        buffer: flat; what is there already stays where it is nearer.
    """
    zero = buffer.dtype.type(0)
    for f in range(ordered.shape[0]):
        a, b, c = ordered[f, 0], ordered[f, 1], ordered[f, 2]
        top = min(cells[1, a], cells[1, b], cells[1, c])
        end = max(cells[1, a], cells[1, b], cells[1, c])
        if top == end:  # between two rows of samples, or above or below the picture
            continue
        left = min(cells[0, a], cells[0, b], cells[0, c])
        right = max(cells[0, a], cells[0, b], cells[0, c])
        if left == right:
            continue
        code = codes[f]
        if code == zero:
            continue
        ax, ay, at = np.float64(corners[0, a]), np.float64(corners[1, a]), np.float64(corners[2, a])
        bx, by, bt = np.float64(corners[0, b]), np.float64(corners[1, b]), np.float64(corners[2, b])
        cx, cy, ct = np.float64(corners[0, c]), np.float64(corners[1, c]), np.float64(corners[2, c])
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == 0.0:  # seen exactly along its edge
            continue
        # The plane of the depth; the limits keep slivers, whose slopes are enormous, within their corners.
        over = 1.0 / area
        du = ((bt - at) * (cy - ay) - (ct - at) * (by - ay)) * over
        dv = ((ct - at) * (bx - ax) - (bt - at) * (cx - ax)) * over
        least = np.float32(min(at, bt, ct))
        most = np.float32(max(at, bt, ct))
        if (right - left) * (end - top) <= _FEW:
            sign = 1.0 if area > 0.0 else -1.0
            abx, aby = sign * (bx - ax), sign * (by - ay)
            bcx, bcy = sign * (cx - bx), sign * (cy - by)
            cax, cay = sign * (ax - cx), sign * (ay - cy)
            # A sample on an edge belongs to what is right of it, and below it where the edge is level.
            ab = _ON_EDGE if aby < 0.0 or (aby == 0.0 and abx > 0.0) else 0.0
            bc = _ON_EDGE if bcy < 0.0 or (bcy == 0.0 and bcx > 0.0) else 0.0
            ca = _ON_EDGE if cay < 0.0 or (cay == 0.0 and cax > 0.0) else 0.0
            for y in range(top, end):
                for x in range(left, right):
                    inside = min(
                        abx * (y - ay) - aby * (x - ax) + ab,
                        bcx * (y - by) - bcy * (x - bx) + bc,
                        cax * (y - cy) - cay * (x - cx) + ca,
                    )
                    if inside > 0.0:
                        t = np.float32(at + (y - ay) * dv + (x - ax) * du)
                        nearer(buffer, y * samples + x, t, np.float32(0), least, most, code, np.int32(1))
            continue
        # Scan lines: the long edge against the two others, from the highest corner down.
        if by < ay:
            ax, ay, bx, by = bx, by, ax, ay
            at, bt = bt, at
        if cy < by:
            bx, by, cx, cy = cx, cy, bx, by
            bt, ct = ct, bt
            if by < ay:
                ax, ay, bx, by = bx, by, ax, ay
                at, bt = bt, at
        long = (cx - ax) / (cy - ay)
        upper = (bx - ax) / (by - ay) if by > ay else 0.0
        lower = (cx - bx) / (cy - by) if cy > by else 0.0
        short_is_right = (bx - ax) * (cy - ay) > (cx - ax) * (by - ay)
        last = np.float64(samples)
        slope = np.float32(du)
        for y in range(top, end):
            row = np.float64(y)
            x_long = ax + (row - ay) * long
            x_short = ax + (row - ay) * upper if row < by else bx + (row - by) * lower
            x0, x1 = (x_long, x_short) if short_is_right else (x_short, x_long)
            first = np.int64(min(max(x0 + _ROUND_UP, 0.0), last))
            past = np.int64(min(max(x1 + _ROUND_UP, 0.0), last))
            t0 = at + (row - ay) * dv - ax * du
            t = np.float32(t0 + first * du)
            nearer(buffer, y * samples + first, t, slope, least, most, code, np.int32(past - first))
            for block in range(first + LANES, past, LANES):
                t = np.float32(t0 + block * du)
                nearer(buffer, y * samples + block, t, slope, least, most, code, np.int32(past - block))
