"""Outlines in the plane, and the solids made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchot.shapes.library.part import Part
from batchot.shapes.shape import Floats, Ints

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


def centres(width: float, count: int) -> list[float]:
    """The middles of so many equal parts of a width about the origin."""
    pitch = width / count
    return [-width / 2 + pitch * (i + 0.5) for i in range(count)]


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


def triangulate(outline: Floats) -> Ints:
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


_BOX_FACES = np.array(
    [
        [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
        [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7],
    ]
)  # fmt: skip
_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
Point = tuple[float, float, float]


def loft(sections: Floats, *, cap: Ints | None = None, capped: bool = True) -> Part:
    """The skin through closed sections, one above the other, and its two ends."""
    k, n, _ = sections.shape
    here = np.arange(n)
    beside = (here + 1) % n
    starts = (np.arange(k - 1) * n)[:, None]
    a, b = (starts + here).ravel(), (starts + beside).ravel()
    faces = [np.stack([a, b, b + n], axis=1), np.stack([a, b + n, a + n], axis=1)]
    if capped:
        if cap is None:
            steps = np.arange(1, n - 1)
            cap = np.stack([np.zeros_like(steps), steps, steps + 1], axis=1)
        faces += [cap[:, ::-1], cap + (k - 1) * n]
    vertices = sections.reshape(-1, 3)
    triangles = np.concatenate(faces)
    corners = vertices[triangles]  # (m, 3, 3)
    same = (corners == np.roll(corners, 1, axis=1)).all(axis=2).any(axis=1)
    return Part(vertices, triangles[~same])


def box(size: Sequence[float], centre: Point = (0.0, 0.0, 0.0), top: Sequence[float] = (1.0, 1.0)) -> Part:
    """A box of the given ``size`` (x, y, z), its upper face scaled by ``top`` (x, y)."""
    half = np.asarray(size, dtype=np.float64) / 2
    vertices = np.empty((8, 3))
    vertices[:4, :2] = _CORNERS * half[:2]
    vertices[4:, :2] = vertices[:4, :2] * np.asarray(top)
    vertices[:4, 2], vertices[4:, 2] = -half[2], half[2]
    return Part(vertices + np.array(centre), _BOX_FACES)


def block(low: Point, high: Point) -> Part:
    """The box between two opposite corners, whichever way round they are named."""
    p, q = np.array(low), np.array(high)
    x, y, z = ((p + q) / 2).tolist()
    return box(np.abs(q - p).tolist(), (x, y, z))


def prism(outline: Floats, bottom: float, top: float, shrink: float = 1.0) -> Part:
    """A simple counter-clockwise outline ``(n, 2)`` drawn up from ``bottom`` to ``top``, there shrunk."""
    ring = np.zeros((2, len(outline), 3))
    ring[0, :, :2] = outline
    ring[1, :, :2] = outline * shrink
    ring[0, :, 2], ring[1, :, 2] = bottom, top
    return loft(ring, cap=triangulate(outline))


def side_prism(outline: Floats, left: float, right: float) -> Part:
    """An outline ``(n, 2)`` of y and z, counter-clockwise seen from +x, drawn from ``left`` to ``right``."""
    flat = prism(outline, left, right)
    return Part(flat.vertices[:, [2, 0, 1]], flat.faces)


def front_prism(outline: Floats, front: float, back: float) -> Part:
    """An outline ``(n, 2)`` of x and z, counter-clockwise seen from -y, drawn from ``front`` to ``back``."""
    flat = prism(outline, -back, -front)
    return Part(flat.vertices[:, [0, 2, 1]] * np.array([1.0, -1.0, 1.0]), flat.faces)


def lathe(
    profile: Sequence[Sequence[float]] | Floats,
    sides: int = 20,
    ring: Floats | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
    twist: float = 0.0,
) -> Part:
    """The surface of revolution of a profile, outside on its right hand when walked."""
    p = np.asarray(profile, dtype=np.float64)
    unit = circle(sides) if ring is None else ring
    angles = np.linspace(0.0, twist, len(p))
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    sections = np.empty((len(p), len(unit), 3))
    sections[:, :, 0] = centre[0] + p[:, :1] * (unit[:, 0] * c - unit[:, 1] * s)
    sections[:, :, 1] = centre[1] + p[:, :1] * (unit[:, 0] * s + unit[:, 1] * c)
    sections[:, :, 2] = p[:, 1:]
    # An end on the axis is a point and needs no cap.
    return loft(sections, cap=None if ring is None else triangulate(unit))


def cylinder(radius: float, bottom: float, top: float, centre: tuple[float, float] = (0.0, 0.0),
             sides: int = 20, upper: float | None = None) -> Part:  # fmt: skip
    """An upright cylinder, or a cone's part where the ``upper`` radius is another."""
    return lathe([[radius, bottom], [radius if upper is None else upper, top]], sides, centre=centre)


def tube(
    path: Sequence[Sequence[float]] | Floats, radius: float | Sequence[float] | Floats, sides: int = 8
) -> Part:
    """A round bar along a path; four sides make a square one of half-width ``radius``."""
    p = np.asarray(path, dtype=np.float64)
    steps = np.diff(p, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    tangents = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    first = tangents[0]
    # A square bar keeps its sides along the axes.
    normal = np.array([1.0, 0.0, 0.0]) if abs(first[2]) > 0.8 else np.array([0.0, 0.0, 1.0])
    unit = circle(sides, start=math.pi / sides)
    if sides == 4:
        unit = unit * math.sqrt(2.0)
    r = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(p),))
    sections = np.empty((len(p), sides, 3))
    for i, tangent in enumerate(tangents):
        normal = normal - (normal @ tangent) * tangent
        normal = normal / math.sqrt(float(normal @ normal))
        across = np.array(
            [
                tangent[1] * normal[2] - tangent[2] * normal[1],
                tangent[2] * normal[0] - tangent[0] * normal[2],
                tangent[0] * normal[1] - tangent[1] * normal[0],
            ]
        )
        sections[i] = p[i] + r[i] * (unit[:, :1] * normal + unit[:, 1:] * across)
    return loft(sections)


def bar(start: Sequence[float], end: Sequence[float], thick: float) -> Part:
    """A square bar of the given thickness between two points."""
    return tube([start, end], thick / 2, 4)


def cushion(size: Sequence[float], centre: Point = (0.0, 0.0, 0.0), exponent: float = 4.0,
            sides: int = 16, levels: int = 6) -> Part:  # fmt: skip
    """A rounded box (a superellipsoid): an egg at exponent 2, a box at a large one."""
    ring = superellipse(1.0, 1.0, exponent, sides)
    angles = np.linspace(-math.pi / 2, math.pi / 2, levels + 1)
    height = np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** (2 / exponent)
    width = np.abs(np.cos(angles)) ** (2 / exponent)
    width[[0, -1]] = 0.0
    sections = np.empty((levels + 1, sides, 3))
    sections[:, :, :2] = width[:, None, None] * ring
    sections[:, :, 2] = height[:, None] / 2
    part = loft(sections, capped=False)
    return part.scaled(*size).moved(*centre)
