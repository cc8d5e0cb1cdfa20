"""Tables and desks, bookshelves and wardrobes."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from batchot.shapes.library.part import Dice, Part, move_all, with_mirror
from batchot.shapes.library.solids import (
    bar,
    box,
    centres,
    corner_share,
    cushion,
    cylinder,
    front_prism,
    rectangle,
    side_prism,
    superellipse,
)
from batchot.shapes.library.supports import Support, plate, slab, support, support_under


def drawer_front(width: float, height: float, knob: bool) -> list[Part]:
    """The front of a drawer about the origin, with a knob or a bar to pull, proud of the plane y = 0."""
    front = box((width, 0.02, height), (0, -0.01, 0))
    if knob:
        return [front, cushion((0.035, 0.04, 0.035), (0, -0.035, 0), 2.0, 8, 4)]
    return [front, box((width * 0.4, 0.025, 0.02), (0, -0.03, height * 0.2))]


def _carcass(width: float, depth: float, height: float, board: float, *, back: bool) -> list[Part]:
    """Two sides, a bottom and a top, on z = 0."""
    x = width / 2 - board / 2
    parts = [box((board, depth, height), (s * x, 0, height / 2)) for s in (-1.0, 1.0)]
    parts += [box((width, depth, board), (0, 0, z)) for z in (board / 2, height - board / 2)]
    if back:
        parts.append(
            box((width * 0.98, board * 0.4, height * 0.98), (0, depth / 2 - board * 0.2, height / 2))
        )
    return parts


def _books(dice: Dice, left: float, right: float, depth: float, bottom: float, clear: float) -> list[Part]:
    parts = []
    x = left + 0.01
    stop = left + (right - left) * dice.between(0.3, 1.0)
    while x < stop - 0.08:
        thick = dice.between(0.03, 0.075)
        tall = clear * dice.between(0.55, 0.9)
        parts.append(box((thick * 0.94, depth * 0.7, tall), (x + thick / 2, 0.02, bottom + tall / 2)))
        x += thick
    return parts


def bookshelf(dice: Dice) -> list[Part]:
    """Boards one above the other, open to the front; with books or without."""
    make = dice.pick("case", "case", "case", "cubes", "ladder", "posts")
    width, height = dice.between(0.5, 1.4), dice.between(0.8, 2.2)
    depth, board = dice.between(0.22, 0.4), dice.between(0.016, 0.04)
    levels = max(2, round(height / dice.between(0.28, 0.42)))
    lift = 0.0
    parts: list[Part] = []
    if make in ("case", "cubes"):
        parts += _carcass(width, depth, height, board, back=dice.chance(0.6))
        columns = max(1, round(width / 0.4)) if make == "cubes" else dice.pick(1, 1, 1, 2)
        edges = np.linspace(-width / 2, width / 2, columns + 1).tolist()
        parts += [box((board, depth * 0.98, height), (x, 0, height / 2)) for x in edges[1:-1]]
        if dice.chance(0.3):
            lift = dice.between(0.05, 0.2)
    else:
        edges = [-width / 2, width / 2]
        slant = 0.3 * depth if make == "ladder" else 0.0
        for x in edges:
            parts.append(bar((x, -depth / 2 - slant, 0), (x, -depth / 2 + slant, height), board * 1.4))
            parts.append(bar((x, depth / 2, 0), (x, depth / 2, height), board * 1.4))
    shelves = np.linspace(0, height - board, levels + 1).tolist()
    if dice.chance(0.3):  # uneven
        shelves = [z + dice.between(-0.2, 0.2) * height / levels for z in shelves]
        shelves[0], shelves[-1] = 0.0, height - board
    full = dice.pick(0.0, 0.0, 0.5, 0.8)
    clear = height / levels
    for i, z in enumerate(shelves):
        if make in ("ladder", "posts") or 0 < i < levels:
            start = 0.12 * height * (i == 0) * (make != "case" and make != "cubes")
            parts.append(box((width - board * 0.5, depth * 0.97, board), (0, 0, z + board / 2 + start)))
        if i == levels:
            continue
        for left, right in pairwise(edges):
            if dice.chance(full) and (i > 0 or make in ("case", "cubes")):
                parts += _books(dice, left + board, right - board, depth, z + board, clear)
    if dice.chance(0.3) and make == "case":  # a cupboard at the foot
        tall = clear * dice.whole(1, max(1, levels // 2))
        for s in (-1.0, 1.0):
            parts.append(box((width * 0.49, 0.02, tall * 0.97), (s * width / 4, -depth / 2, tall / 2)))
            parts.append(cushion((0.03, 0.04, 0.03), (s * 0.05, -depth / 2 - 0.03, tall * 0.6), 2.0, 8, 4))
    if lift:
        style: Support = dice.pick("square", "round")
        parts = move_all(parts, z=lift) + support(dice, style, width, depth, lift, 0.04)
    return parts


def _crown(dice: Dice, width: float, depth: float, height: float) -> list[Part]:
    if dice.chance(0.6):
        tall = dice.between(0.04, 0.1)
        return [box((width * 1.06, depth * 1.08, tall), (0, 0, height + tall / 2), (1.04, 1.04))]
    rise = dice.between(0.1, 0.25)
    angles = np.linspace(0, math.pi, 11)
    arch = np.stack([width / 2 * np.cos(angles), rise * np.sin(angles)], axis=1)
    return [front_prism(arch, -depth / 2, depth / 2).moved(z=height)]


def wardrobe(dice: Dice) -> list[Part]:
    """A tall cupboard with doors, some with drawers below, mirrors or an open row of shelves."""
    width, depth, height = dice.between(0.7, 1.9), dice.between(0.4, 0.65), dice.between(1.5, 2.2)
    doors = max(1, round(width / dice.between(0.4, 0.65)))
    lift = dice.pick(0.0, dice.between(0.04, 0.18))
    low = height * dice.pick(0.0, 0.0, dice.between(0.15, 0.3))
    parts = [box((width, depth, height), (0, 0, height / 2))]
    front = -depth / 2
    pitch, places = width / doors, centres(width, doors)
    panels = dice.pick(0, 1, 2, 3)
    pull = dice.pick("bar", "knob", "none")
    ajar = dice.whole(0, doors - 1) if dice.chance(0.15) else -1
    for i, x in enumerate(places):
        tall = height - low
        leaf = [box((pitch * 0.95, 0.03, tall * 0.96), (x, front - 0.015, low + tall / 2))]
        for k in range(panels):
            high = tall * 0.9 / panels
            middle = low + tall * 0.05 + high * (k + 0.5)
            leaf.append(box((pitch * 0.65, 0.03, high * 0.8), (x, front - 0.03, middle)))
        side = 1.0 if i % 2 == 0 else -1.0
        spot = (x + side * pitch * 0.38, front - 0.055, low + tall * 0.5)
        if pull == "bar":
            leaf.append(box((0.025, 0.04, dice.between(0.12, 0.5)), spot))
        elif pull == "knob":
            leaf.append(cushion((0.06, 0.06, 0.06), spot, 2.0, 8, 4))
        if i == ajar:
            leaf = [piece.turned("z", -side * 0.9, (x - side * pitch / 2, front, 0)) for piece in leaf]
        parts += leaf
    if dice.chance(0.2):  # a row of shelves beside the doors
        side, wide = dice.pick(-1.0, 1.0), dice.between(0.3, 0.6)
        case = _carcass(wide, depth, height, 0.03, back=True)
        levels = dice.whole(2, 5)
        case += [box((wide, depth, 0.03), (0, 0, height * i / levels)) for i in range(1, levels)]
        parts += move_all(case, x=side * (width + wide) / 2)
    if low:
        count = dice.whole(1, 3)
        drawer = drawer_front(width / count * 0.93, low * 0.85, True)
        for x in centres(width, count):
            parts += move_all(drawer, x, front, low / 2)
    if dice.chance(0.55):
        parts += _crown(dice, width, depth, height)
    if lift:
        parts = move_all(parts, z=lift) + support(
            dice, dice.pick("square", "turned", "panels"), width, depth, lift, 0.07
        )
    if dice.chance(0.15):
        parts.append(cylinder(0.1, height + lift, height + lift + 0.2, (width * 0.2, 0.0)))
    return parts


_TABLE_SUPPORTS: tuple[Support, ...] = (
    "square", "square", "round", "turned", "pedestal", "pedestal", "cross", "sled", "panels", "trestle",
    "hairpin", "drum", "three", "star",
)  # fmt: skip
_LONG_SUPPORTS: tuple[Support, ...] = (
    "square", "square", "round", "turned", "sled", "panels", "trestle", "hairpin",
)  # fmt: skip


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
        drawer = drawer_front(width * 0.9 / count * 0.9, row * 0.8, True)
        for spot in centres(width * 0.9, count):
            parts += move_all(drawer, spot, -depth * 0.425, under - row / 2)
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
