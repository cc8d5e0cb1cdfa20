"""Closed plane outlines, curves through points, and the triangles that fill an outline."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_EPSILON = 1e-12  # square metres, more than rounding


def circle(sides: int, radius: float = 1.0, start: float = 0.0) -> Floats:
    """A regular polygon, counter-clockwise from the angle ``start``, shape ``(sides, 2)``."""
    angles = start + np.arange(sides) * (2 * math.pi / sides)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def rectangle(width: float, depth: float) -> Floats:
    """A rectangle about the origin, counter-clockwise, shape ``(4, 2)``."""
    x, y = width / 2, depth / 2
    return np.array([[-x, -y], [x, -y], [x, y], [-x, y]])


def superellipse(width: float, depth: float, exponent: float, sides: int = 24) -> Floats:
    r"""A rounded rectangle :math:`|2x/w|^p + |2y/d|^p = 1`, an ellipse at :math:`p = 2`, ``(sides, 2)``."""
    unit = circle(sides)
    rounded = np.sign(unit) * np.abs(unit) ** (2 / exponent)
    return rounded * np.array([width / 2, depth / 2])


def smooth(points: Sequence[Sequence[float]] | Floats, steps: int) -> Floats:
    """A Catmull-Rom curve through points ``(k, d)``, ``steps`` pieces between two of them."""
    p = np.asarray(points, dtype=np.float64)
    before = np.concatenate([2 * p[:1] - p[1:2], p[:-2]])
    after = np.concatenate([p[2:], 2 * p[-1:] - p[-2:-1]])
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = before[:, None], p[:-1, None], p[1:, None], after[:, None]
    curve = b + t * ((c - a) / 2 + t * (a - 2.5 * b + 2 * c - d / 2 + t * (1.5 * (b - c) + (d - a) / 2)))
    return np.concatenate([curve.reshape(-1, p.shape[1]), p[-1:]])


def smooth_outline(points: Sequence[Sequence[float]] | Floats, steps: int) -> Floats:
    """A closed Catmull-Rom curve through points ``(k, 2)``, shape ``(k steps, 2)``."""
    p = np.asarray(points, dtype=np.float64)
    open_curve = smooth(np.concatenate([p[-2:], p, p[:2]]), steps)
    return open_curve[2 * steps : (2 + len(p)) * steps]


def symmetric(half: Sequence[Sequence[float]] | Floats) -> Floats:
    """The outline whose right half (x >= 0, from bottom to top) is given, mirrored to the left."""
    right = np.asarray(half, dtype=np.float64)
    left = right[::-1] * np.array([-1.0, 1.0])
    return np.concatenate([right, left[(right[::-1, 0] > 1e-9)]])


def corner_share(outline: Floats) -> float:
    """How far towards the corner of its bounding box a convex outline about the origin reaches, 1 at most."""
    edges = np.roll(outline, -1, axis=0) - outline
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
    offsets = (normals * outline).sum(axis=1)
    towards = np.abs(normals) @ (np.ptp(outline, axis=0) / 2)
    return float((offsets / towards).min())


def _cross(o: Floats, a: Floats, b: Floats) -> Floats:
    return (a[..., 0] - o[..., 0]) * (b[..., 1] - o[..., 1]) - (a[..., 1] - o[..., 1]) * (
        b[..., 0] - o[..., 0]
    )


def triangulate(outline: Floats) -> NDArray[np.int64]:
    """The triangles that fill a simple counter-clockwise outline ``(n, 2)``, by clipping ears."""
    n = len(outline)
    turns = _cross(np.roll(outline, 1, axis=0), outline, np.roll(outline, -1, axis=0))
    if np.all(turns >= -_EPSILON):  # convex: a fan
        steps = np.arange(1, n - 1)
        return np.stack([np.zeros_like(steps), steps, steps + 1], axis=1)
    left = list(range(n))
    faces = []
    while len(left) > 3:
        ring = np.array(left)
        a, b, c = outline[np.roll(ring, 1)], outline[ring], outline[np.roll(ring, -1)]
        area = _cross(a, b, c)  # (k,)
        ear = 0
        # The fattest corner first, so that few slivers remain. Rounded: corners that are equally fat but
        # for the last bit, as in a mirrored outline, come in the same order on every machine.
        for i in np.argsort(-np.round(area, 9), kind="stable").tolist():
            if area[i] <= _EPSILON:
                break
            others = np.delete(b, [i - 1, i, (i + 1) % len(left)], axis=0)
            inside = (
                (_cross(a[i], b[i], others) >= -_EPSILON)
                & (_cross(b[i], c[i], others) >= -_EPSILON)
                & (_cross(c[i], a[i], others) >= -_EPSILON)
            )
            if not inside.any():
                ear = i
                break
        faces.append([left[ear - 1], left[ear], left[(ear + 1) % len(left)]])
        del left[ear]
    faces.append(left)
    return np.array(faces, dtype=np.int64)
