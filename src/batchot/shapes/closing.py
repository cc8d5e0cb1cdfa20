"""The surface that points stand for, as a depth image: balls around the points, rolled over by another ball.

The dilation and the erosion together are a closing: it fills the gaps between points, in the outline and wherever one
part is in front of another, and leaves the size of the parts as it was.

Source: Serra, Image Analysis and Mathematical Morphology, 1982, chapter XII.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

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
    """Raise what is lower than all around it over less than 2 width + 1 samples (a closing with a square).

    The ball is rolled in steps and would meet a narrower pit here and miss it there.
    """
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
