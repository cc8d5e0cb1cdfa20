"""Tables and desks."""

from __future__ import annotations

import numpy as np

from batchot.shapes.library.dice import Dice
from batchot.shapes.library.outlines import corner_share, rectangle, superellipse
from batchot.shapes.library.part import Part, move_all, with_mirror
from batchot.shapes.library.solids import bar, box, cushion, side_prism
from batchot.shapes.library.storage import drawer_front
from batchot.shapes.library.supports import Support, plate, slab, support, support_under

_TABLE_SUPPORTS: tuple[Support, ...] = (
    "square", "square", "round", "turned", "pedestal", "pedestal", "cross", "sled", "panels", "trestle",
    "hairpin", "drum", "three", "star",
)  # fmt: skip
_LONG_SUPPORTS: tuple[Support, ...] = (
    "square",
    "square",
    "round",
    "turned",
    "sled",
    "panels",
    "trestle",
    "hairpin",
)


def table(dice: Dice) -> list[Part]:
    """A top on legs or a column: for dining, beside a sofa, low before it, or tall and small."""
    kind = dice.pick("dining", "dining", "round", "coffee", "side")
    if kind == "dining":
        width, depth, height = dice.between(1.1, 2.0), dice.between(0.7, 1.0), dice.between(0.68, 0.78)
    elif kind == "coffee":
        width, depth, height = dice.between(0.8, 1.3), dice.between(0.45, 0.8), dice.between(0.3, 0.48)
    elif kind == "round":
        width = depth = dice.between(0.75, 1.3)
        height = dice.between(0.68, 0.8)
    else:
        width = dice.between(0.4, 0.6)
        depth, height = width * dice.between(0.8, 1.0), dice.between(0.45, 0.75)
    thick, leg = dice.between(0.02, 0.06), dice.between(0.035, 0.09)
    long = width > 1.35 * depth
    style = dice.pick(*(_LONG_SUPPORTS if long else _TABLE_SUPPORTS))
    inset = dice.between(0.75, 0.97)
    outline = plate(dice, width, depth, round_share=0.9 if kind == "round" else 0.35)
    parts = support_under(dice, style, outline, height - thick, leg, inset)
    parts.append(slab(outline, height - thick, thick))
    inset *= corner_share(outline)
    if style in ("square", "round", "turned") and dice.chance(0.5):
        rim = dice.between(0.06, 0.12)
        size = (width * inset - leg, depth * inset - leg)
        parts.append(box((*size, rim), (0, 0, height - thick - rim / 2)))
        if dice.chance(0.25):  # one drawer does not make it a desk
            front = drawer_front(size[0] * 0.4, rim * 0.8, True)
            parts += move_all(front, y=-size[1] / 2, z=height - thick - rim / 2)
    if style in ("square", "round", "turned", "panels") and dice.chance(0.25):
        level = height * dice.between(0.15, 0.4)
        parts.append(slab(rectangle(width * inset * 0.92, depth * inset * 0.9), level, thick * 0.7))
    return parts


def _drawers(dice: Dice, width: float, depth: float, height: float) -> list[Part]:
    """A pedestal of drawers that stands on z = 0, its front at negative y."""
    count = dice.whole(2, 4)
    pitch = height / count
    parts = [box((width, depth, height), (0, 0, height / 2))]
    knob = dice.chance(0.5)
    for i in range(count):
        fronts = drawer_front(width * 0.9, pitch * 0.85, knob)
        parts += move_all(fronts, y=-depth / 2, z=pitch * (i + 0.5))
    return parts


def desk(dice: Dice) -> list[Part]:
    """A table to work at: drawers, a panel before the knees, shelves above, or a second wing."""
    width, depth, height = dice.between(1.0, 1.8), dice.between(0.5, 0.8), dice.between(0.7, 0.78)
    thick, leg = dice.between(0.02, 0.05), dice.between(0.03, 0.07)
    under = height - thick
    parts = [
        slab(superellipse(width, depth, 12.0) if dice.chance(0.2) else rectangle(width, depth), under, thick)
    ]
    make = dice.pick("one", "one", "two", "two", "legs", "hanging")
    x, y, t = width / 2, depth / 2, leg
    case = width * dice.between(0.2, 0.3)
    raised = dice.pick(0.0, 0.0, under * dice.between(0.35, 0.6))
    if make in ("one", "two"):
        pedestal = move_all(
            _drawers(dice, case, depth * 0.92, under - raised), x=-x + case / 2 + 0.01, z=raised
        )
        if make == "two":
            parts += with_mirror(pedestal)
            if raised:
                parts += support(dice, "square", width, depth, under, leg)
        else:
            parts += pedestal
            if raised or dice.chance(0.5):
                parts += support(dice, dice.pick("square", "round", "sled"), width, depth, under, leg)
            else:
                parts.append(box((t * 0.7, depth * 0.92, under), (x - t, 0, under / 2)))
    else:
        style: Support = dice.pick("square", "round", "turned")
        if make == "legs":
            style = dice.pick("panels", "sled", "square", "trestle")
        parts += support(dice, style, width * 0.97, depth * 0.95, under, leg)
        row = dice.between(0.09, 0.16)
        parts.append(box((width * 0.9, depth * 0.85, row), (0, 0, under - row / 2)))
        count = dice.whole(1, 3)
        pitch = width * 0.9 / count
        for i in range(count):
            spot = -width * 0.45 + pitch * (i + 0.5)
            parts += move_all(
                drawer_front(pitch * 0.9, row * 0.8, True), x=spot, y=-depth * 0.425, z=under - row / 2
            )
    if dice.chance(0.55):
        tall = under * dice.between(0.4, 0.9)
        parts.append(box((width * 0.94, 0.02, tall), (0, y * 0.85, under - tall / 2)))
    if dice.chance(0.22):
        parts += _hutch(dice, width, depth, height)
    elif dice.chance(0.25):
        parts += _slope_or_wing(dice, width, depth, height, thick, leg)
    return parts


def _hutch(dice: Dice, width: float, depth: float, height: float) -> list[Part]:
    rise, deep = dice.between(0.25, 0.7), depth * dice.between(0.25, 0.45)
    x, back = width / 2, depth / 2 - deep / 2
    parts = with_mirror([box((0.025, deep, rise), (-x * 0.97, back, height + rise / 2))])
    parts.append(box((width * 0.97, deep, 0.025), (0, back, height + rise)))
    if rise > 0.45:
        parts.append(box((width * 0.97, deep, 0.02), (0, back, height + rise * 0.5)))
    for i in range(dice.whole(0, 3)):
        spot = -x + width * (i + 1) / 4
        parts.append(box((0.02, deep, rise), (spot, back, height + rise / 2)))
    if dice.chance(0.5):
        parts.append(box((width * 0.95, 0.015, rise), (0, depth / 2 - 0.01, height + rise / 2)))
    return parts


def _slope_or_wing(
    dice: Dice, width: float, depth: float, height: float, thick: float, leg: float
) -> list[Part]:
    if dice.chance(0.4):
        y = depth / 2
        outline = [(-y * 0.8, 0.0), (y * 0.9, 0.0), (y * 0.9, 0.2), (-y * 0.8, 0.05)]
        lectern = side_prism(np.array(outline), -width * 0.4, width * 0.4)
        return [lectern.moved(z=height)]
    side = dice.pick(-1.0, 1.0)
    wide, long = depth * 0.8, dice.between(0.6, 1.0)
    x, y = side * (width - wide) / 2, -depth / 2 - long / 2
    end = y - long / 2 + leg
    return [
        box((wide, long, thick), (x, y, height - thick / 2)),
        bar((x - wide * 0.4, end, 0), (x - wide * 0.4, end, height - thick), leg),
        bar((x + wide * 0.4, end, 0), (x + wide * 0.4, end, height - thick), leg),
        cushion((wide * 0.6, 0.05, 0.2), (x, end, height - thick - 0.1), 8.0),
    ]
