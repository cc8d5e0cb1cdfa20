"""What a seat, a top or a body stands on: legs, pedestals, frames."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from batchot.shapes.library.part import Dice, Part, turn_all, with_mirror
from batchot.shapes.library.solids import (
    Floats,
    bar,
    box,
    circle,
    corner_share,
    cylinder,
    lathe,
    prism,
    rectangle,
    smooth,
    superellipse,
    tube,
)

Support = Literal[
    "square", "round", "turned", "three", "pedestal", "star", "cross", "sled", "panels", "trestle", "hairpin",
    "drum",
]  # fmt: skip


def plate(dice: Dice, width: float, depth: float, *, round_share: float) -> Floats:
    """An outline ``(n, 2)`` of a seat or a table top: round with a given probability, else squarish."""
    if dice.chance(round_share):
        return dice.pick(
            superellipse(width, depth, 2.0, 28), superellipse(width, depth, 2.0, 28),
            superellipse(width, depth, 2.0, 28), circle(6, width / 2), circle(8, width / 2, math.pi / 8),
        )  # fmt: skip
    return dice.pick(
        rectangle(width, depth), rectangle(width, depth), superellipse(width, depth, dice.between(4, 10), 28)
    )


def support(
    dice: Dice, style: Support, width: float, depth: float, height: float, thick: float
) -> list[Part]:
    """A support of the given style from the floor up to ``height``."""
    if style in ("square", "round", "turned", "three"):
        return _legs(dice, style, width, depth, height, thick)
    if style in ("pedestal", "star", "cross", "drum"):
        return _column(dice, style, min(width, depth), height, thick)
    return _frame(dice, style, width, depth, height, thick)


def support_under(
    dice: Dice, style: Support, outline: Floats, height: float, thick: float, inset: float = 0.92
) -> list[Part]:
    """A support below a top of the given convex outline ``(n, 2)``, no leg of it outside the top."""
    width, depth = np.ptp(outline, axis=0).tolist()
    if style not in ("three", "pedestal", "star", "cross", "drum"):
        inset *= corner_share(outline)
    return support(dice, style, width * inset, depth * inset, height, thick)


def _turned_profile(dice: Dice, height: float, thick: float) -> list[tuple[float, float]]:
    r = thick / 2
    rings = [
        (0.6, 0.0),
        (0.9, 0.1),
        (0.6, 0.16),
        (1.1, 0.3),
        (1.3, 0.55),
        (0.8, 0.7),
        (1.2, 0.74),
        (0.8, 0.78),
    ]
    wobble = [dice.between(0.8, 1.25) for _ in rings]
    profile = [(r * a * b, z * height) for (a, z), b in zip(rings, wobble, strict=True)]
    return [*profile, (r * 1.2, 0.82 * height), (r * 1.2, height)]


def _legs(dice: Dice, style: Support, width: float, depth: float, height: float, thick: float) -> list[Part]:
    x, y = width / 2 - thick / 2, depth / 2 - thick / 2
    splay = dice.pick(0.0, 0.0, dice.between(0.05, 0.22)) * min(height, 0.6)
    taper = dice.between(0.45, 1.0)
    if style == "three":
        radius = min(x, y)
        corners = [tuple(point) for point in circle(3, radius, math.pi / 2).tolist()]
    else:
        corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    profile = _turned_profile(dice, height, thick)
    feet, parts = [], []
    for cx, cy in corners:
        far = math.hypot(cx, cy)
        fx, fy = cx * (1 + splay / far), cy * (1 + splay / far)
        feet.append((fx, fy))
        if style == "turned":
            parts.append(lathe(profile, 10, centre=(cx, cy)))
        else:
            ends = [thick / 2 * taper, thick / 2]
            parts.append(tube([(fx, fy, 0), (cx, cy, height)], ends, 4 if style == "square" else 8))
    if style != "turned" and dice.chance(0.45):
        level = dice.between(0.15, 0.45)
        joints = [
            (fx + (cx - fx) * level, fy + (cy - fy) * level, height * level)
            for (fx, fy), (cx, cy) in zip(feet, corners, strict=True)
        ]
        pairs = [(i, (i + 1) % len(joints)) for i in range(len(joints))]
        if len(joints) == 4:
            pairs = dice.pick(pairs, [(0, 3), (1, 2)], [(0, 2), (1, 3)])
        parts += [bar(joints[i], joints[j], thick * 0.5) for i, j in pairs]
    return parts


def _column(dice: Dice, style: Support, width: float, height: float, thick: float) -> list[Part]:
    if style == "drum":
        bottom = width / 2 * dice.between(0.55, 0.95)
        if dice.chance(0.5):
            waist = dice.between(0.35, 1.0)
            r = width / 2 * 0.8
            return [lathe(smooth([(bottom, 0), (r * waist, height / 2), (r, height)], 5), 20)]
        return [box((2 * bottom, 2 * bottom, height), (0, 0, height / 2))]
    reach = width / 2 * dice.between(0.65, 0.95)
    r = thick * dice.between(0.5, 1.2)
    foot = dice.between(0.02, 0.05)
    if style == "pedestal":
        if dice.chance(0.4):  # a trumpet
            curve = [(reach, 0), (reach * 0.9, foot), (r, height * 0.3), (r, height * 0.8), (r * 2.2, height)]
            return [lathe(smooth(curve, 4), 20)]
        base = cylinder(reach, 0, foot, sides=24) if dice.chance(0.7) else box((1.7 * reach, 1.7 * reach, foot),
                                                                               (0, 0, foot / 2))  # fmt: skip
        return [base, cylinder(r, foot, height, sides=14)]
    if style == "star":
        arms = dice.pick(4, 5, 5, 3)
        parts = [cylinder(r * 0.8, height * 0.15, height, sides=12)]
        wheel = dice.chance(0.6)
        low = 0.05 if wheel else 0.015
        for i in range(arms):
            arm = tube([(0, 0, low + height * 0.16), (reach, 0, low + 0.015)], [thick * 0.6, thick * 0.35], 4)
            pieces = [arm]
            if wheel:
                caster = cylinder(0.028, -0.015, 0.015, sides=10).turned("x", math.pi / 2)
                pieces.append(caster.moved(reach, 0, 0.028))
            parts += turn_all(pieces, "z", 2 * math.pi * i / arms + math.pi / 2)
        return parts
    # Crossed boards.
    board = box((2 * reach, thick * 0.7, height), (0, 0, height / 2), (dice.between(0.6, 1.1), 1.0))
    return [board.turned("z", math.pi / 4), board.turned("z", -math.pi / 4)]


def _frame(dice: Dice, style: Support, width: float, depth: float, height: float, thick: float) -> list[Part]:
    x, y, t = width / 2 - thick / 2, depth / 2 - thick / 2, thick * 0.7
    if style == "panels":
        panels = with_mirror([box((thick * 0.8, depth * 0.94, height), (-x, 0, height / 2))])
        if dice.chance(0.6):
            z = height * dice.between(0.3, 0.75)
            panels.append(box((2 * x, thick * 0.6, height * dice.between(0.15, 0.4)), (0, y * 0.3, z)))
        return panels
    if style == "sled":
        corners = [(-x, -y, t / 2), (-x, y, t / 2), (-x, y, height - t / 2), (-x, -y, height - t / 2)]
        if dice.chance(0.3):  # cantilever: nothing behind
            corners = [corners[1], corners[0], corners[3], corners[2]]
            side = [bar(corners[i], corners[i + 1], t) for i in range(3)]
        else:
            side = [bar(corners[i], corners[(i + 1) % 4], t) for i in range(4)]
        parts = with_mirror(side)
        if dice.chance(0.5):
            parts.append(bar((-x, y, t / 2), (x, y, t / 2), t))
        return parts
    if style == "trestle":
        inner = x * dice.between(0.75, 1.0)
        if dice.chance(0.5):  # A-shaped ends
            side = [bar((-inner, s * y, 0), (-inner, s * y * 0.25, height), t) for s in (-1.0, 1.0)]
            side.append(bar((-inner, -y * 0.65, height * 0.4), (-inner, y * 0.65, height * 0.4), t * 0.7))
        else:  # T-shaped ends
            side = [box((t * 1.4, 2 * y, t * 1.2), (-inner, 0, t * 0.6), (1.0, 0.85)),
                    box((t, depth * 0.3, height), (-inner, 0, height / 2))]  # fmt: skip
        beam = box((2 * inner, t * 0.7, t * 1.6), (0, 0, height * dice.between(0.25, 0.45)))
        return [*with_mirror(side), beam]
    # Hairpins: two thin rods to one point.
    rod = thick * 0.14
    leg = [
        tube([(-x * 1.05, -y * 1.05, rod), (-x + dx, -y + dy, height)], rod, 6)
        for dx, dy in ((0.0, 0.22 * y), (0.22 * x, 0.0))
    ]
    return with_mirror(with_mirror(leg), "y")


def slab(outline: Floats, bottom: float, thickness: float) -> Part:
    """A board of the given outline ``(n, 2)`` whose lower face lies at ``bottom``."""
    return prism(outline, bottom, bottom + thickness)
