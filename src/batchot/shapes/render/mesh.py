"""Triangles drawn into depth buffers, and holes of thin parts closed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from batchot.compiling import njit
from batchot.shapes.shape import Mesh

LANES = 16
"""Samples that are compared at a time; as many more than a buffer's last sample may be touched."""


@intrinsic
def nearer(typing_context, buffer, index, depth, slope, least, most, code, count):  # type: ignore[no-untyped-def]
    """For lane = 0 … min(count, 16) - 1: buffer[index + lane] = max(buffer[index + lane], key(lane))."""
    word = buffer.dtype.bitwidth
    shift = 8 if word == 32 else 40
    signature = types.void(
        buffer,
        types.int64,
        types.float32,
        types.float32,
        types.float32,
        types.float32,
        buffer.dtype,
        types.int32,
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, depth, slope, least, most, code, count = arguments
        integer, key_type = ir.IntType(32), ir.IntType(word)

        def spread(scalar: Any) -> Any:
            one = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
            first = builder.insert_element(one, scalar, ir.Constant(integer, 0))
            return builder.shuffle_vector(first, one, ir.Constant(ir.VectorType(integer, LANES), [0] * LANES))

        lanes = ir.Constant(ir.VectorType(integer, LANES), list(range(LANES)))
        lanes_float = ir.Constant(ir.VectorType(ir.FloatType(), LANES), [float(i) for i in range(LANES)])
        data = context.make_array(signature.args[0])(context, builder, array).data
        vector = ir.VectorType(key_type, LANES)
        place = builder.bitcast(builder.gep(data, [index]), vector.as_pointer())
        old = builder.load(place, align=word // 8)
        t = builder.fadd(spread(depth), builder.fmul(lanes_float, spread(slope)))
        low, high = spread(least), spread(most)
        t = builder.select(builder.fcmp_ordered(">", t, low), t, low)
        t = builder.select(builder.fcmp_ordered("<", t, high), t, high)
        level = builder.fptoui(t, ir.VectorType(integer, LANES))
        if word == 64:
            level = builder.zext(level, vector)
        key = builder.or_(builder.shl(level, ir.Constant(vector, [shift] * LANES)), spread(code))
        wins = builder.and_(
            builder.icmp_signed("<", lanes, spread(count)), builder.icmp_unsigned(">", key, old)
        )
        builder.store(builder.select(wins, key, old), place, align=word // 8)
        return context.get_dummy_value()

    return signature, generate


@dataclass(frozen=True, eq=False)
class Facets:
    """The triangles of a mesh in the form in which they are drawn."""

    vertices: NDArray[np.float64]  # those that a face uses, (n, 3)
    ordered: NDArray[np.int32]  # corners of the faces in the order of their coordinates, (m, 3) int32
    normals: NDArray[np.float64]  # unit normals of either sign, zero for a face without an area, (3, m)
    offsets: NDArray[np.float64]  # normal · corner of each face, (m,)


def facets(mesh: Mesh) -> Facets:
    """The triangles of a mesh in the form in which they are drawn."""
    vertices, ordered = sort_corners(*_used(mesh.vertices, mesh.faces))
    normals, offsets = face_normals(vertices, ordered)
    return Facets(vertices, ordered, normals, offsets)


@njit(cache=True, nogil=True)
def _used(vertices, faces):  # type: ignore[no-untyped-def]
    """Leave out vertices that no face uses, so that a stray point far away does not spoil the scale of depth."""
    place = np.full(vertices.shape[0], -1, np.int32)
    for f in range(faces.shape[0]):
        for k in range(3):
            place[faces[f, k]] = 0
    count = 0
    for i in range(place.size):
        if place[i] == 0:
            place[i] = count
            count += 1
    kept = np.empty((count, 3), np.float64)
    for i in range(place.size):
        if place[i] >= 0:
            for k in range(3):
                # -0.0 becomes 0.0: equal numbers are then equal in bits
                kept[place[i], k] = vertices[i, k] + 0.0
    corners = np.empty(faces.shape, np.int32)
    for f in range(faces.shape[0]):
        for k in range(3):
            corners[f, k] = place[faces[f, k]]
    return kept, corners


@njit(cache=True, nogil=True)
def sort_corners(vertices, corners):  # type: ignore[no-untyped-def]
    """Put the corners of every face in the order of their coordinates, in place."""
    for f in range(corners.shape[0]):
        a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
        if _before(vertices, b, a):
            a, b = b, a
        if _before(vertices, c, b):
            b, c = c, b
            if _before(vertices, b, a):
                a, b = b, a
        corners[f, 0], corners[f, 1], corners[f, 2] = a, b, c
    return vertices, corners


@njit(cache=True, nogil=True, inline="always")
def _before(vertices, i, j):  # type: ignore[no-untyped-def]
    for k in range(3):
        if vertices[i, k] != vertices[j, k]:
            return vertices[i, k] < vertices[j, k]
    return False


@njit(cache=True, nogil=True)
def face_normals(vertices, corners):  # type: ignore[no-untyped-def]
    """Unit normals (3, m), zero for a face without an area, and normal · corner (m,)."""
    m = corners.shape[0]
    normals = np.zeros((3, m), np.float64)
    offsets = np.zeros(m, np.float64)
    for f in range(m):
        a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        wx, wy, wz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        longest = max(abs(ux), abs(uy), abs(uz), abs(wx), abs(wy), abs(wz))
        if longest == 0.0:
            continue
        ux, uy, uz = ux / longest, uy / longest, uz / longest
        wx, wy, wz = wx / longest, wy / longest, wz / longest
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        length = math.sqrt(nx * nx + ny * ny + nz * nz)
        if length > 1e-12:  # less is the rounding of three points on a line
            nx, ny, nz = nx / length, ny / length, nz / length
            normals[0, f], normals[1, f], normals[2, f] = nx, ny, nz
            offsets[f] = nx * ax + ny * ay + nz * az
    return normals, offsets


STEPS = 6
"""Across a radius in which the ball is rolled: the grown surface is smooth, so that more changes nothing."""


@njit(cache=True, nogil=True)
def grow(places, reach, samples):  # type: ignore[no-untyped-def]
    """Depth of the nearest of balls of radius reach around the points; -inf where there is none."""
    z = np.full((samples, samples), -np.inf, np.float32)
    for p in range(len(places)):
        column, row, middle = places[p]
        top, bottom = max(math.ceil(row - reach), 0), min(math.floor(row + reach), samples - 1)
        for i in range(top, bottom + 1):
            half = math.sqrt(max(reach * reach - (i - row) ** 2, 0.0))
            left, right = max(math.ceil(column - half), 0), min(math.floor(column + half), samples - 1)
            if left > right:  # beside the picture
                continue
            line = z[i, left : right + 1]
            first = np.float32(left - column)
            square, height = np.float32(half * half), np.float32(middle)
            for j in range(line.size):
                x = np.float32(np.int32(j)) + first
                under = square - x * x
                front = height + np.sqrt(under if under > np.float32(0) else np.float32(0))
                line[j] = front if front > line[j] else line[j]
    return z


@njit(cache=True, nogil=True)
def fill_pits(z, width):  # type: ignore[no-untyped-def]
    """Raise what is lower than all around it over less than 2 width + 1 samples (a closing with a square)."""
    for raising in (True, False):
        for across in (True, False):
            before = z.copy()
            for i in range(len(z)):
                for shift in range(-width, width + 1):
                    if across:
                        left, right = max(-shift, 0), min(len(z) - shift, len(z))
                        here, there = z[i, left:right], before[i, left + shift : right + shift]
                    elif 0 <= i + shift < len(z):
                        here, there = z[i], before[i + shift]
                    else:
                        continue
                    if raising:
                        for j in range(here.size):
                            here[j] = there[j] if there[j] > here[j] else here[j]
                    else:
                        for j in range(here.size):
                            here[j] = there[j] if there[j] < here[j] else here[j]


@njit(cache=True, nogil=True)
def close(z, reach):  # type: ignore[no-untyped-def]
    """What a ball of radius reach that is moved along under z leaves of it."""
    samples = len(z)
    closed = z.copy()
    step = max(int(reach / STEPS), 1)
    count = int(reach / step)
    for a in range(-count, count + 1):
        for b in range(-count, count + 1):
            off = step * step * (a * a + b * b)
            if off > reach * reach:
                continue
            height = np.float32(math.sqrt(reach * reach - off))
            shift = b * step
            left, right = max(-shift, 0), min(samples - shift, samples)
            for i in range(max(-a * step, 0), min(samples - a * step, samples)):
                there = z[i + a * step, left + shift : right + shift]
                here = closed[i, left:right]
                for j in range(here.size):
                    front = there[j] - height
                    here[j] = front if front < here[j] else here[j]
    return closed


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
    """Where the vertices are in a picture of samples x samples."""
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
    """Write every triangle into the buffer of samples x samples numbers and LANES to spare."""
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
