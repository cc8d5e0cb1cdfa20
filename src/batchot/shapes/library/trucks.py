"""Lorries and pickups, front towards -y."""

from __future__ import annotations

import math

import numpy as np

from batchot.shapes.library.dice import Dice
from batchot.shapes.library.outlines import circle
from batchot.shapes.library.part import Part, with_mirror
from batchot.shapes.library.road import greenhouse, side_outline, wheels
from batchot.shapes.library.solids import block, box, cylinder, side_prism


def truck(dice: Dice) -> list[Part]:
    """A lorry or pickup: a cab before a box, a bed, a tank, a tipper or a crane, on four to ten wheels."""
    load = dice.pick("box", "box", "flat", "tank", "tipper", "pickup", "pickup")
    width, radius = dice.between(1.9, 2.4), dice.between(0.38, 0.5)
    if load == "pickup":
        return _pickup(dice)
    deck = radius * 2.0 + 0.1
    bonnet = dice.pick(0.0, 0.0, dice.between(0.7, 1.2))
    cab, bed = dice.between(1.5, 2.2), dice.between(2.2, 6.5)
    cab_top = deck + dice.between(1.3, 2.0)
    front = -(bonnet + cab + bed) / 2
    start, back = front + bonnet + cab, front + bonnet + cab + bed
    x, low = width / 2, radius * 0.9
    nose = (front + bonnet) if bonnet else front
    lean = dice.between(0.0, 0.3)
    profile = [
        (nose, low),
        (start - 0.1, low),
        (start - 0.1, cab_top),
        (nose + lean + 0.1, cab_top),
        (nose, deck + 0.6),
    ]
    parts = [side_prism(np.array(profile), -x * 0.97, x * 0.97)]
    if bonnet:
        high = deck + dice.between(0.4, 0.75)
        hood = [(front, low), (nose, low), (nose, high), (front + 0.15, high - 0.12), (front, high - 0.3)]
        wide = x * dice.between(0.65, 0.95)
        parts.append(side_prism(np.array(hood), -wide, wide))
    parts.append(box((width * 0.5, back - nose, 0.22), (0, (back + nose) / 2, deck - 0.15)))
    parts.append(box((width, 0.15, 0.25), (0, front, low)))
    rear = dice.pick(1, 1, 2, 3)
    axles = [front + radius * 1.5 + 0.15] + [back - radius * (1.8 + 2.15 * i) for i in range(rear)]
    parts += wheels(axles, radius, width * 1.02, 0.3, 14)
    return parts + _load(dice, load, width, start, back, deck, cab_top)


def _load(
    dice: Dice, load: str, width: float, start: float, back: float, deck: float, cab_top: float
) -> list[Part]:
    x, long = width / 2, back - start
    if load == "box":
        top = max(cab_top, deck + 1.4) + dice.between(-0.2, 0.7)
        parts = [block((-x, start + 0.1, deck), (x, back, top))]
        if dice.chance(0.4):
            parts.append(
                block((-x * 0.9, start - 0.9, cab_top), (x * 0.9, start - 0.1, (top + cab_top) / 2 + 0.2))
            )
        return parts
    if load == "tank":
        r = min(x * 0.9, 1.1)
        body = cylinder(r, start + 0.15, back, sides=20).turned("x", -math.pi / 2).scaled(1.0, 1.0, 0.85)
        hatches = dice.whole(1, 3)
        lids = [
            cylinder(0.25, 0, 0.2, (0, start + long * (i + 1) / (hatches + 1)), 10) for i in range(hatches)
        ]
        return [body.moved(z=deck + r * 0.85), *(lid.moved(z=deck + r * 1.68) for lid in lids)]
    wall = dice.between(0.35, 1.0)
    bed = [
        block((-x, start + 0.1, deck), (x, back, deck + 0.1)),
        block((-x, start + 0.1, deck), (x, start + 0.2, deck + wall * 1.3)),
    ]
    sides = [
        block((x - 0.08, start + 0.1, deck), (x, back, deck + wall)),
        block((-x, start + 0.1, deck), (-x + 0.08, back, deck + wall)),
    ]
    gate = block((-x, back - 0.08, deck), (x, back, deck + wall))
    if load == "tipper":
        angle = dice.pick(0.0, dice.between(0.2, 0.6))
        return [piece.turned("x", angle * -1.0, (0, back, deck)) for piece in [*bed, *sides]]
    cargo = dice.pick("none", "logs", "crates", "sides")
    if cargo == "sides":
        return [*bed, *sides, gate]
    if cargo == "logs":
        log = cylinder(width * 0.11, start + 0.3, back + 0.2, sides=10).turned("x", -math.pi / 2)
        spots = [(i, 0) for i in range(-1, 3)] + [(i + 0.5, 1) for i in range(-1, 2)]
        return [
            *bed,
            *(log.moved((i - 0.5) * width * 0.23, 0, deck + width * (0.21 + 0.19 * j)) for i, j in spots),
        ]
    if cargo == "crates":
        return bed + [
            box((width * 0.7, long * 0.24, h), (0, start + long * (0.3 + 0.3 * i), deck + h / 2))
            for i, h in enumerate([dice.between(0.4, 1.1) for _ in range(dice.whole(1, 3))])
        ]
    return bed


def _pickup(dice: Dice) -> list[Part]:
    long, width, radius = dice.between(4.8, 5.6), dice.between(1.75, 2.05), dice.between(0.33, 0.42)
    floor, belt, roof = dice.between(0.3, 0.45), dice.between(1.0, 1.15), dice.between(1.65, 1.85)
    y = long / 2
    hood, cab = long * dice.between(0.22, 0.28), long * dice.between(0.24, 0.38)
    axles = (-y + long * 0.18, y - long * 0.2)
    seam, wall = -y + hood + cab, belt * dice.between(0.9, 1.0)
    deck = floor + (belt - floor) * 0.4
    corners = [(-y, floor), (-y, belt * 0.8), (-y + 0.1, belt * 0.92), (-y + hood, belt), (seam, belt), (seam, deck),
               (y, deck), (y, floor)]  # fmt: skip
    parts = [side_prism(side_outline(corners, axles, radius * 1.1, floor), -width / 2, width / 2)]
    parts += with_mirror([block((width / 2 - 0.08, seam, deck), (width / 2, y, wall))])
    parts.append(block((-width / 2, y - 0.08, deck), (width / 2, y, wall)))
    parts.append(
        greenhouse(width, (-y + hood, seam), (-y + hood + dice.between(0.4, 0.7), seam - 0.1), belt, roof)
    )
    parts += wheels(axles, radius, width * 1.02, 0.26)
    if dice.chance(0.3):
        arc = [
            box((0.06, 0.06, roof - deck), (0, 0, (roof + deck) / 2)).moved(s * width * 0.42, seam + 0.15, 0)
            for s in (-1.0, 1.0)
        ]
        parts += [*arc, box((width * 0.88, 0.06, 0.06), (0, seam + 0.15, roof))]
    if dice.chance(0.3):
        spots = circle(4, 0.35).tolist()
        parts += [
            cylinder(0.25, deck, deck + 0.7, (px, (seam + y) / 2 + py), 12)
            for px, py in spots[: dice.whole(1, 4)]
        ]
    return parts
