"""Polygons whose area is known, made without the code under test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def shoelace(points: Points) -> float:
    """The area of a polygon of the plane, positive if it turns to the left."""
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def crosses(polygon: Points, point: Points) -> int:
    """How many edges a ray from a point to the right crosses."""
    following = np.roll(polygon, -1, axis=0)
    (x0, y0), (x1, y1) = polygon.T, following.T
    at = (y0 > point[1]) != (y1 > point[1])
    return int((x0[at] + (point[1] - y0[at]) / (y1[at] - y0[at]) * (x1[at] - x0[at]) > point[0]).sum())


def _turn(a: Points, b: Points, c: Points) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _meet(a: Points, b: Points, c: Points, d: Points) -> bool:
    return _turn(a, b, c) * _turn(a, b, d) <= 0 and _turn(c, d, a) * _turn(c, d, b) <= 0


def simple_polygon(generator: np.random.Generator, n: int) -> Points:
    """Random points in an order in which no edges cross: parts are reversed until none do."""
    points = generator.normal(size=(n, 2))
    changed = True
    while changed:
        changed = False
        for i in range(n - 1):
            for j in range(i + 2, n - (i == 0)):
                if _meet(points[i], points[i + 1], points[j], points[(j + 1) % n]):
                    points[i + 1 : j + 1] = points[i + 1 : j + 1][::-1].copy()
                    changed = True
    return points


def keyhole(
    generator: np.random.Generator, windows: int, *, aligned: bool
) -> tuple[Points, NDArray[np.int64], float]:
    """A square with windows as one outline that goes to each over a bridge and back: points, order, area.

    Args:
        generator: of the random numbers.
        windows: at most so many.
        aligned: rectangles whose sides are parallel to those of the square; else polygons.
    """
    cells = int(np.ceil(np.sqrt(windows)))
    side = 10.0 * cells
    points = [np.array(p) for p in ((0.0, 0.0), (side, 0.0), (side, side), (0.0, side))]
    outline, holes, edges = [0, 1, 2, 3], [], [(0, 1), (1, 2), (2, 3), (3, 0)]
    area = side * side
    for cell in generator.permutation(cells * cells)[:windows]:
        if aligned:
            w, h = generator.integers(1, 5, 2)
            hole = np.array([[-w, -h], [-w, h], [w, h], [w, -h]], dtype=np.float64)
        else:
            m = int(generator.integers(3, 9))
            angles = -(np.arange(m) + generator.uniform(0, 0.8, m)) * 2 * np.pi / m
            hole = generator.uniform(1, 4.5, (m, 1)) * np.column_stack([np.cos(angles), np.sin(angles)])
        area += shoelace(hole)  # it turns to the right
        names = list(range(len(points), len(points) + len(hole)))
        points.extend(np.add(hole, (10 * (cell % cells) + 5, 10 * (cell // cells) + 5)))
        holes.append(names)
        edges += list(zip(names, [*names[1:], names[0]], strict=True))
    left = list(holes)
    while left:
        bridge = _bridge(points, outline, left, edges)
        if bridge is None:  # too crowded: leave the rest whole
            area -= sum(shoelace(np.array([points[i] for i in hole])) for hole in left)
            break
        hole, a, b = bridge
        edges.append((hole[a], outline[b]))
        outline = [*outline[: b + 1], *hole[a:], *hole[: a + 1], *outline[b:]]
        left.remove(hole)
    return np.array(points), np.array(outline), area


def _bridge(
    points: list[Points], outline: list[int], holes: list[list[int]], edges: list[tuple[int, int]]
) -> tuple[list[int], int, int] | None:
    """The shortest connection of a corner of a window and one of the outline that meets nothing on its way."""
    candidates = sorted(
        (float(((points[i] - points[j]) ** 2).sum()), h, a, b)
        for h, hole in enumerate(holes)
        for a, i in enumerate(hole)
        for b, j in enumerate(outline)
    )
    for _, h, a, b in candidates:
        i, j = holes[h][a], outline[b]
        if any(
            not {i, j} & set(edge) and _meet(points[i], points[j], *(points[k] for k in edge))
            for edge in edges
        ):
            continue
        # Where the outline comes by several times, the bridge must begin between the edges of this one.
        before, after = (
            points[outline[b - 1]] - points[j],
            points[outline[(b + 1) % len(outline)]] - points[j],
        )
        to = points[i] - points[j]
        begin = np.arctan2(after[1], after[0])
        room = (np.arctan2(before[1], before[0]) - begin) % (2 * np.pi) or 2 * np.pi
        if 0 < (np.arctan2(to[1], to[0]) - begin) % (2 * np.pi) < room:
            return holes[h], a, b
    return None
