"""Doors and stairs."""

from __future__ import annotations

import math

import numpy as np

from batchot.shapes.library.part import Dice, Part, turn_all, with_mirror
from batchot.shapes.library.solids import bar, box, cushion, cylinder, front_prism, loft, side_prism, tube


def _leaf(dice: Dice, width: float, height: float, thick: float) -> list[Part]:
    """One leaf that hangs on x = 0 and reaches to x = ``width``."""
    x = width / 2
    make = dice.pick("plain", "panels", "panels", "panels", "glass", "boards", "louvres")
    stile = width * dice.between(0.1, 0.16)
    if make in ("glass", "louvres"):
        leaf = [box((stile, thick, height), (p, 0, height / 2)) for p in (stile / 2, width - stile / 2)]
        leaf += [box((width, thick, stile), (x, 0, z)) for z in (stile / 2, height - stile / 2)]
        if make == "louvres":
            count = dice.whole(10, 22)
            levels = np.linspace(stile * 1.3, height - stile * 1.3, count).tolist()
            slat = box((width - 2 * stile, thick, 0.012)).turned("x", 0.6)
            return leaf + [slat.moved(x, 0, z) for z in levels]
        rows, columns = dice.whole(2, 5), dice.whole(1, 3)
        leaf += [box((width, thick * 0.6, 0.025), (x, 0, height * i / rows)) for i in range(1, rows)]
        leaf += [
            box((0.025, thick * 0.6, height), (width * i / columns, 0, height / 2)) for i in range(1, columns)
        ]
        leaf.append(box((width * 0.98, 0.006, height * 0.98), (x, 0, height / 2)))
        return leaf
    leaf = [box((width, thick * 0.7, height), (x, 0, height / 2))]
    if make == "panels":
        rows, columns = dice.pick((2, 1), (3, 2), (2, 2), (1, 1), (4, 1), (5, 1))
        high, wide = (height - stile) / rows, (width - stile) / columns
        for i in range(rows):
            for j in range(columns):
                place = (stile / 2 + wide * (j + 0.5), 0.0, stile / 2 + high * (i + 0.5))
                leaf.append(box((wide * 0.75, thick * 1.1, high - wide * 0.25), place))
    elif make == "boards":
        count = dice.whole(4, 7)
        pitch = width / count
        leaf += [box((pitch * 0.85, thick, height), (pitch * (i + 0.5), 0, height / 2)) for i in range(count)]
        leaf += [box((width, thick * 1.4, 0.12), (x, 0, height * z)) for z in (0.2, 0.8)]
    return leaf


def _handle(dice: Dice, x: float, thick: float) -> list[Part]:
    reach = thick / 2 + 0.05
    make = dice.pick("lever", "knob", "bar")
    if make == "knob":
        return [cushion((0.06, 0.06, 0.06), (x, s * reach, 1.0), 2.0, 10, 6) for s in (-1.0, 1.0)]
    if make == "bar":
        tall = dice.between(0.3, 1.0)
        return [box((0.03, 0.03, tall), (x, s * reach, 1.05)) for s in (-1.0, 1.0)]
    return [box((0.13, 0.02, 0.02), (x - 0.05, s * reach, 1.0)) for s in (-1.0, 1.0)] + [
        box((0.02, 2 * reach, 0.02), (x, 0, 1.0))
    ]


def door(dice: Dice) -> list[Part]:
    """One or two leaves, mostly in a frame, shut or ajar; some under an arch or a window."""
    double = dice.chance(0.25)
    width, height = dice.between(0.7, 1.0), dice.between(1.9, 2.3)
    thick = dice.between(0.035, 0.06)
    total = width * (2 if double else 1)
    framed = dice.chance(0.85)
    angle = dice.pick(0.0, 0.0, dice.between(0.2, 1.4)) if framed else 0.0
    leaf = _leaf(dice, width * 0.985, height, thick)
    leaf += _handle(dice, width * 0.88, thick)
    parts = [piece.moved(x=-total / 2) for piece in turn_all(leaf, "z", -angle)]
    if double:
        parts = (
            with_mirror(parts)
            if dice.chance(0.6)
            else parts + [p.moved(x=-total / 2).mirrored("x") for p in leaf]
        )
    if framed:
        wide, deep = dice.between(0.05, 0.14), dice.between(0.08, 0.2)
        x = total / 2 + wide / 2
        parts += with_mirror([box((wide, deep, height), (x, 0, height / 2))])
        top = dice.pick("lintel", "lintel", "lintel", "arch", "window")
        if top == "arch":
            outer, inner = total / 2 + wide, total / 2
            angles = np.linspace(0, math.pi, 15)
            rise = dice.between(0.5, 1.0)
            arc = np.stack([np.cos(angles), rise * np.sin(angles)], axis=1)
            ring = np.concatenate([outer * arc, inner * arc[::-1]])
            parts.append(front_prism(ring, -deep / 2, deep / 2).moved(z=height))
            parts.append(front_prism(inner * arc, -0.01, 0.01).moved(z=height))
        else:
            parts.append(box((total + 2 * wide, deep, wide), (0, 0, height + wide / 2)))
            if top == "window":
                extra = dice.between(0.3, 0.5)
                parts += with_mirror([box((wide, deep, extra), (x, 0, height + wide + extra / 2))])
                parts.append(box((total + 2 * wide, deep, wide), (0, 0, height + extra + wide * 1.5)))
        if dice.chance(0.4):
            parts.append(box((total + 2 * wide, deep * 1.5, 0.04), (0, 0, -0.02)))
    return parts


def _rail(points: list[tuple[float, float, float]], height: float, thick: float, every: int) -> list[Part]:
    """A handrail ``height`` above the points, with a post on each ``every``-th."""
    path = [(x, y, z + height) for x, y, z in points]
    spots = [*points[::every], points[-1]]
    return [tube(path, thick, 6), *(bar(p, (p[0], p[1], p[2] + height), thick * 1.2) for p in spots)]


def stairs(dice: Dice) -> list[Part]:
    """Steps: a solid flight, open treads on beams, two flights at a corner, or a spiral."""
    make = dice.pick("solid", "solid", "open", "open", "corner", "spiral", "ladder")
    count = dice.whole(4, 14)
    rise, going, width = dice.between(0.15, 0.2), dice.between(0.22, 0.32), dice.between(0.7, 1.6)
    railed = dice.chance(0.55)
    if make == "spiral":
        return _spiral(dice, max(count, 9), rise, width, railed)
    if make == "ladder":
        going, rise, count, make = going * 0.6, rise * 1.15, dice.whole(3, 7), "open"
    long, thick = count * going, dice.between(0.03, 0.06)
    parts: list[Part] = []
    if make == "open":
        parts += [
            box((width, going * 1.1, thick), (0, going * (i + 0.5), rise * (i + 1))) for i in range(count)
        ]
        beam = 0.06
        slope = [(0.0, 0.0), (long, rise * count - thick), (long, rise * count - 0.25), (0.12, 0.0)]
        outline = np.array([slope[3], slope[2], slope[1], slope[0]])
        spots = dice.pick((0.0,), (-1.0, 1.0), (-1.0, 1.0))
        parts += [
            side_prism(outline, s * width * 0.42 - beam / 2, s * width * 0.42 + beam / 2) for s in spots
        ]
        if dice.chance(0.4):
            parts += with_mirror([bar((width * 0.42, long, 0), (width * 0.42, long, rise * count), 0.08)])
    else:
        zigzag = [(going * (i // 2), rise * ((i + 1) // 2)) for i in range(2 * count)] + [
            (long, rise * count)
        ]
        under = [(long, 0.0)] if dice.chance(0.7) else [(long, rise * count - 0.3), (going * 1.5, 0.0)]
        outline = np.array([*zigzag, *under])[::-1]
        parts.append(side_prism(outline, -width / 2, width / 2))
        if make == "corner":
            parts += _second_flight(dice, long, rise, going, width, count)
    if dice.chance(0.35) and make != "corner" and count > 4:
        deep = dice.between(0.6, 1.2)
        parts.append(box((width, deep, thick * 2), (0, long + deep / 2, rise * count - thick)))
    if railed:
        line = [(width * 0.46, going * (i + 0.5), rise * (i + 1)) for i in range(count)]
        rail = _rail(line, dice.between(0.8, 1.0), 0.025, dice.pick(1, 2, 4))
        parts += with_mirror(rail) if dice.chance(0.6) else rail
    return parts


def _second_flight(
    dice: Dice, long: float, rise: float, going: float, width: float, count: int
) -> list[Part]:
    landing = rise * count
    parts = [box((width, width, landing), (0, long + width / 2, landing / 2))]
    side = dice.pick(-1.0, 1.0)
    for i in range(dice.whole(3, 8)):
        top = landing + rise * (i + 1)
        x = side * (width / 2 + going * (i + 0.5))
        parts.append(box((going, width, top), (x, long + width / 2, top / 2)))
    return parts


def _spiral(dice: Dice, count: int, rise: float, width: float, railed: bool) -> list[Part]:
    turn = dice.pick(-1.0, 1.0) * dice.between(0.3, 0.5)
    reach, thick = width * dice.between(0.7, 1.0), dice.between(0.03, 0.07)
    high = rise * (count + 1)
    parts = [cylinder(0.08, 0, high + (0.9 if railed else 0.1), sides=12)]
    half = abs(turn) * 0.55
    tread = np.array([(0.05, -0.03), (reach * math.cos(half), -reach * math.sin(half)),
                      (reach * math.cos(half), reach * math.sin(half)), (0.05, 0.03)])  # fmt: skip
    sections = np.zeros((2, 4, 3))
    sections[:, :, :2] = tread
    sections[1, :, 2] = thick
    step = loft(sections)
    line = []
    for i in range(count):
        angle, z = turn * i, rise * (i + 1)
        parts.append(step.turned("z", angle).moved(z=z - thick))
        line.append((reach * 0.95 * math.cos(angle), reach * 0.95 * math.sin(angle), z))
    return parts + _rail(line, 0.9, 0.022, 1) if railed else parts
