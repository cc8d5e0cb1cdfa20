"""Monitors and laptops, their screens towards -y."""

from __future__ import annotations

import math

import numpy as np

from batchot.shapes.library.dice import Dice
from batchot.shapes.library.outlines import superellipse
from batchot.shapes.library.part import Part, move_all, turn_all, with_mirror
from batchot.shapes.library.seating import curved_panel
from batchot.shapes.library.solids import bar, box, cylinder, loft, prism


def _panel(width: float, height: float, thick: float, rim: float) -> list[Part]:
    """A flat screen that stands on z = 0, its frame proud of the glass."""
    x = width / 2
    frame = [box((rim, thick, height), (s * (x - rim / 2), 0, height / 2)) for s in (-1.0, 1.0)]
    frame += [box((width - 2 * rim, thick, rim), (0, 0, z)) for z in (rim / 2, height - rim / 2)]
    glass = box((width - 2 * rim, thick * 0.6, height - 2 * rim), (0, thick * 0.2, height / 2))
    return [*frame, glass]


def _tube_case(dice: Dice, width: float, height: float) -> list[Part]:
    """The deep case of a cathode ray tube, behind the plane y = 0."""
    deep = dice.between(0.6, 1.0) * width
    sections = np.empty((3, 24, 3))
    for i, (y, scale) in enumerate([(0.0, 1.0), (deep * 0.35, 0.95), (deep, dice.between(0.45, 0.7))]):
        ring = superellipse(width * scale, height * scale, 8.0, 24)
        sections[i] = np.stack([ring[:, 0], np.full(24, y), height / 2 - ring[:, 1]], axis=1)
    return [loft(sections)]


def monitor(dice: Dice) -> list[Part]:
    """A screen on a foot: flat, curved or a deep tube; some in pairs, with loudspeakers or a keyboard."""
    width = dice.between(0.4, 0.8)
    height = width * dice.pick(dice.between(0.5, 0.62), dice.between(0.7, 0.82), dice.between(0.4, 0.5))
    if dice.chance(0.06):
        width, height = height, width
    thick, lift = dice.between(0.015, 0.05), dice.between(0.03, 0.2)
    make = dice.pick("flat", "flat", "flat", "flat", "curved", "tube")
    if make == "tube":
        screen = _panel(width, height, 0.04, 0.03) + _tube_case(dice, width, height)
        lift = dice.between(0.03, 0.08)
    elif make == "curved":
        bulge = width * dice.between(0.04, 0.14)
        screen = [curved_panel(width, height, thick, bulge).moved(y=-bulge)]
    else:
        screen = _panel(width, height, thick, dice.between(0.008, 0.035))
        if dice.chance(0.5):
            screen.append(box((width * 0.55, thick * 1.6, height * 0.6), (0, thick, height * 0.5)))
    tilt = dice.pick(0.0, dice.between(-0.05, 0.25))
    screen = turn_all(screen, "x", -tilt)
    parts = _stand(dice, width, height, lift, thick, deep=make == "tube")
    parts += move_all(screen, z=lift)
    if make == "flat" and dice.chance(0.1) and width < 0.6:
        pair = move_all(turn_all(parts, "z", 0.15), x=-width * 0.52)
        return with_mirror(pair)
    if dice.chance(0.12):
        parts += with_mirror([box((0.08, 0.09, height * 0.7), (width / 2 + 0.1, 0, height * 0.35))])
    if dice.chance(0.1):
        parts.append(box((0.44, 0.14, 0.02), (0, -0.3, 0.01)))
    return parts


def _stand(dice: Dice, width: float, height: float, lift: float, thick: float, *, deep: bool) -> list[Part]:
    reach, foot = width * dice.between(0.2, 0.34), dice.between(0.008, 0.02)
    if deep:
        return [cylinder(reach, 0, lift, (0.0, width * 0.3), upper=reach * 0.6)]
    make = dice.pick("disc", "plate", "plate", "feet", "vee", "bent")
    rise = lift + height * dice.between(0.15, 0.5)
    behind = thick + 0.015
    post = [
        box(
            (width * dice.between(0.06, 0.2), 0.025, rise),
            (0, behind, rise / 2),
            (dice.between(0.6, 1.0), 1.0),
        )
    ]
    if make == "disc":
        return [*post, cylinder(reach, 0, foot, (0.0, behind * 0.5), 24)]
    if make == "plate":
        ring = superellipse(2 * reach, reach * dice.between(0.9, 1.4), dice.between(3, 12), 24)
        return [*post, prism(ring, 0, foot)]
    if make == "feet":
        spread, long = width * dice.between(0.3, 0.45), dice.between(0.1, 0.18)
        foot_parts = [bar((spread, -long / 2, 0.006), (spread, long / 2, 0.006), 0.012),
                      bar((spread, 0, 0), (spread, 0, lift + 0.02), 0.016)]  # fmt: skip
        return with_mirror(foot_parts)
    if make == "vee":
        return [*post, *with_mirror([bar((0, behind, 0.012), (reach, -reach * 0.7, 0.012), 0.024)])]
    back = bar((0, reach * 1.1, 0.005), (0, behind, rise), 0.03).scaled(3, 1, 1)
    return [back, box((width * 0.3, reach * 2, foot), (0, reach * 0.2, foot / 2))]


def laptop(dice: Dice) -> list[Part]:
    """A base with keys and a pad, and a lid that is open by 60 to 150 degrees."""
    width = dice.between(0.28, 0.4)
    depth, thick = width * dice.between(0.6, 0.78), dice.between(0.012, 0.03)
    y = depth / 2
    parts = [prism(superellipse(width, depth, dice.pick(30.0, dice.between(10, 20)), 24), 0, thick)]
    if dice.chance(0.5):
        rows, columns = dice.whole(4, 5), dice.whole(8, 12)
        wide, deep = width * 0.88 / columns, depth * 0.5 / rows
        for r in range(rows):
            for c in range(columns):
                place = (
                    -width * 0.44 + wide * (c + 0.5),
                    -y * 0.05 + deep * (r + 0.5) - depth * 0.08,
                    thick + 0.002,
                )
                parts.append(box((wide * 0.85, deep * 0.82, 0.004), place))
    else:
        parts.append(box((width * 0.88, depth * 0.5, 0.003), (0, depth * 0.12, thick + 0.001)))
    pad = dice.between(0.22, 0.4)
    parts.append(box((width * pad, depth * 0.22, 0.002), (0, -depth * 0.32, thick + 0.001)))
    lid, rim = dice.between(0.006, 0.016), dice.between(0.006, 0.02)
    tall = depth * dice.between(0.92, 1.0)
    screen = _panel(width * 0.99, tall, lid, rim)
    angle = math.radians(
        dice.pick(dice.between(90, 125), dice.between(90, 125), dice.between(45, 90), dice.between(125, 160))
    )
    hinge = y - lid / 2
    parts += move_all(turn_all(screen, "x", math.pi / 2 - angle), y=hinge, z=thick)
    if dice.chance(0.6):
        joint = cylinder(0.007, -0.02, 0.02, sides=8).turned("y", math.pi / 2)
        parts += with_mirror([joint.moved(width * 0.32, hinge, thick)])
    return parts
