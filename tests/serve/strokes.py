"""From a picture of a drawing to the strokes of a hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

_AROUND = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def strokes_of(path: Path, *, least: int = 6, step: int = 3) -> list[list[tuple[float, float]]]:
    """Trace the lines of a drawing.

    Args:
        path: dark lines on white
        least: pixels of the shortest stroke
        step: pixels between two points

    Returns:
        Strokes, each a list of (x, y) in 0 .. 1.
    """
    grey = np.asarray(Image.open(path).convert("L"))
    thin = _thinned(np.pad(grey < 128, 1))
    left = {(int(y), int(x)) for y, x in np.argwhere(thin)}
    h, w = thin.shape
    strokes = []
    while left:
        ends = [p for p in left if sum(n in left for n in _neighbours(p)) == 1]
        line = [min(ends) if ends else min(left)]
        left.discard(line[0])
        while follow := next((n for n in _neighbours(line[-1]) if n in left), None):
            line.append(follow)
            left.discard(follow)
        if len(line) >= least:
            kept = [*line[:-1:step], line[-1]]
            strokes.append([(x / w, y / h) for y, x in kept])
    return strokes


def _neighbours(p: tuple[int, int]) -> list[tuple[int, int]]:
    return [(p[0] + dy, p[1] + dx) for dy, dx in _AROUND]


def _thinned(ink: np.ndarray) -> np.ndarray:
    """Lines of one pixel, by Zhang and Suen, Communications of the ACM 27(3), 1984."""
    ink = ink.copy()
    while True:
        changed = False
        for first in (True, False):
            p = [np.roll(ink, (-dy, -dx), (0, 1)) for dy, dx in _AROUND]  # north, then clockwise
            count = sum(q.astype(int) for q in p)
            turns = sum((~p[k] & p[(k + 1) % 8]).astype(int) for k in range(8))
            n, e, s, w = p[0], p[2], p[4], p[6]
            free = ~(n & e & s) & ~(e & s & w) if first else ~(n & e & w) & ~(n & s & w)
            gone = ink & (count >= 2) & (count <= 6) & (turns == 1) & free
            if gone.any():
                ink &= ~gone
                changed = True
        if not changed:
            return ink
