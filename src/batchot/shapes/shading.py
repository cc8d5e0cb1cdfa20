"""From what a sample sees to the grey of a pixel: codes of faces, and samples averaged to pixels."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from batchot.shapes.raster import LEVELS

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
    """Grey 128 + 127 q.z of the nearest sample of every pixel, from 1 to 255; 0 where there is none.

    The nearest and not the mean: between a near and a far surface the mean is a place where there is nothing.
    """
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
