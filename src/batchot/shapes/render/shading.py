"""How a surface looks: shaded, or as its lines."""

from __future__ import annotations

import math

import numpy as np

from batchot.compiling import njit
from batchot.shapes.render.mesh import LEVELS

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


_RIDGE = 0.002  # of the squared radius: keeps points on a line from giving a slope across it
_STEEPEST = 8.0  # slope of a fitted plane


@njit(cache=True, nogil=True)
def fit_sums(places, normals, z, reach, step):  # type: ignore[no-untyped-def]
    """Of every cell of step x step samples: sums over the points on the surface that it sees, the nearest most."""
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
    """Of every cell: depth in its middle, slopes to the right and down, unit normal; (cells, cells, 6)."""
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


DARKEST = 35.0
"""Grey of a surface that is seen along itself."""
BRIGHTEST = 220.0
"""Grey of a surface that faces the camera: less than the white behind, so that it stands out."""


@njit(cache=True, nogil=True, inline="always")
def grey(cosine):  # type: ignore[no-untyped-def]
    """The grey of a surface at \\|n · v\\| = cosine, a whole number."""
    return np.uint32(DARKEST + (BRIGHTEST - DARKEST) * min(cosine, 1.0) + 0.5)


@njit(cache=True, nogil=True, inline="always")
def pack_normal(x, y, z):  # type: ignore[no-untyped-def]
    """A unit vector in 32 bits: 16 of x, 15 of y and the sign of z."""
    return (
        (np.uint64((x + 1.0) * 32767.0 + 0.5) << np.uint64(16))
        | (np.uint64((y + 1.0) * 16383.0 + 0.5) << np.uint64(1))
        | np.uint64(z < 0.0)
    )


@njit(cache=True, nogil=True, inline="always")
def unpack_normal(code):  # type: ignore[no-untyped-def]
    """The unit vector of ``pack_normal``, to about 1e-4 where it faces the camera."""
    x = np.float64((code >> np.uint64(16)) & np.uint64(0xFFFF)) / 32767.0 - 1.0
    y = np.float64((code >> np.uint64(1)) & np.uint64(0x7FFF)) / 16383.0 - 1.0
    z = math.sqrt(max(1.0 - x * x - y * y, 0.0))
    return x, y, -z if code & np.uint64(1) else z


@njit(cache=True, nogil=True)
def grey_codes(normals, rotation, codes):  # type: ignore[no-untyped-def]
    """The grey of every face, (m,) uint32; 0 for a face without a normal, which is not drawn."""
    r = rotation[2]
    for f in range(codes.size):
        x, y, z = normals[0, f], normals[1, f], normals[2, f]
        cosine = abs(r[0] * x + r[1] * y + r[2] * z)
        codes[f] = grey(cosine) if x != 0.0 or y != 0.0 or z != 0.0 else np.uint32(0)


@njit(cache=True, nogil=True)
def normal_codes(normals, offsets, rotation, distance, codes):  # type: ignore[no-untyped-def]
    """Grey, 8 bits, above the packed normal on the side of the camera, (m,) uint64; 0 for a face without one."""
    r = rotation
    for f in range(codes.size):
        x, y, z = normals[0, f], normals[1, f], normals[2, f]
        if x == 0.0 and y == 0.0 and z == 0.0:
            codes[f] = np.uint64(0)
            continue
        back = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
        side = 1.0 if back - offsets[f] / distance >= 0.0 else -1.0
        right = side * (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z)
        up = side * (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z)
        shade = np.uint64(grey(abs(back)))
        codes[f] = (shade << np.uint64(32)) | pack_normal(right, up, side * back)


@njit(cache=True, nogil=True)
def upper_half(buffer, half):  # type: ignore[no-untyped-def]
    """Depth and grey without the normal: what a buffer of 32 bits would hold."""
    for k in range(half.size):
        half[k] = np.uint32(buffer[k] >> np.uint64(32))


@njit(cache=True, nogil=True)
def shaded_pixels(buffer, antialias, pixels):  # type: ignore[no-untyped-def]
    """Mean grey of the samples of every pixel."""
    size = pixels.shape[0]
    samples = size * antialias
    count = np.uint32(antialias * antialias)
    byte = np.uint32(255)
    total = np.empty(size, np.uint32)
    for i in range(size):
        total[:] = count // np.uint32(2)
        for k in range(i * antialias, (i + 1) * antialias):
            row = buffer[k * samples : (k + 1) * samples]
            if antialias == 2:  # of known length, for the compiler
                for j in range(size):
                    total[j] += (row[2 * j] & byte) + (row[2 * j + 1] & byte)
            else:
                for j in range(size):
                    for step in range(antialias):
                        total[j] += row[j * antialias + step] & byte
        for j in range(size):
            pixels[i, j] = total[j] // count


@njit(cache=True, nogil=True)
def silhouette_pixels(buffer, antialias, pixels):  # type: ignore[no-untyped-def]
    """255 times the share of the samples of every pixel that see the shape."""
    size = pixels.shape[0]
    samples = size * antialias
    count = antialias * antialias
    for i in range(size):
        for j in range(size):
            seen = 0
            for k in range(i * antialias, (i + 1) * antialias):
                for step in range(antialias):
                    seen += buffer[k * samples + j * antialias + step] > np.uint32(255)
            pixels[i, j] = (255 * seen + count // 2) // count


@njit(cache=True, nogil=True)
def depth_pixels(buffer, antialias, low, high, distance, pixels):  # type: ignore[no-untyped-def]
    """Grey 128 + 127 q.z of the nearest sample of every pixel, from 1 to 255; 0 where there is none."""
    size = pixels.shape[0]
    samples = size * antialias
    for i in range(size):
        for j in range(size):
            nearest = np.uint32(0)
            for k in range(i * antialias, (i + 1) * antialias):
                for step in range(antialias):
                    nearest = max(nearest, buffer[k * samples + j * antialias + step])
            level = nearest >> np.uint32(8)
            if level == 0:
                pixels[i, j] = 0
            else:
                z = depth_of_level(level, low, high, distance)
                pixels[i, j] = np.uint8(min(max(128.5 + 127.0 * z, 1.0), 255.0))


@njit(cache=True, nogil=True, inline="always")
def depth_of_level(level, low, high, distance):  # type: ignore[no-untyped-def]
    """q.z of a level of the buffer whose first and last stand for the depths low and high of ``project``."""
    t = low + (np.float64(level) - 1.0) * (high - low) / LEVELS
    return t if distance == math.inf else distance - distance / t
