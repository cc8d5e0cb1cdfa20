"""Lamps, monitors and laptops."""

from __future__ import annotations

import math

import numpy as np

from batchot.shapes.library.part import Dice, Part, move_all, turn_all, with_mirror
from batchot.shapes.library.seating import curved_panel
from batchot.shapes.library.solids import (
    bar,
    box,
    centres,
    circle,
    cushion,
    cylinder,
    lathe,
    loft,
    prism,
    smooth,
    superellipse,
    tube,
)
from batchot.shapes.library.vessels import hollow


def _shade(dice: Dice, radius: float, tall: float) -> list[Part]:
    """A shade whose lower rim lies on z = 0 and whose axis is z."""
    make = dice.pick("drum", "drum", "cone", "cone", "cone", "bell", "globe", "bowl", "box")
    wall = radius * 0.04
    if make == "globe":
        return [cushion((2 * radius, 2 * radius, 2 * radius), (0, 0, radius * 0.9), 2.0, 20, 10)]
    if make == "bowl":  # light goes up
        curve = smooth([(radius * 0.25, 0), (radius * 0.8, tall * 0.25), (radius * 1.1, tall * 0.6)], 4)
        return [lathe(hollow(curve, wall), 24)]
    if make == "box":
        return [box((1.6 * radius, 1.6 * radius, tall), (0, 0, tall / 2), (dice.between(0.6, 1.0),) * 2)]
    upper = {"drum": dice.between(0.85, 1.0), "cone": dice.between(0.35, 0.75), "bell": 0.4}[make] * radius
    middle = (radius + upper) / 2 * (0.78 if make == "bell" else 1.0)
    outside = [(radius, 0.0), (middle, tall / 2), (upper, tall)]
    inside = [(r - wall, z) for r, z in outside[::-1]]
    ring = circle(dice.pick(6, 8)) if dice.chance(0.15) else circle(24)
    parts = [lathe([*outside, *inside, outside[0]], ring=ring)]
    parts.append(cushion((radius * 0.5, radius * 0.5, radius * 0.7), (0, 0, tall * 0.5), 2.0, 12, 6))
    return parts


def _base(dice: Dice, radius: float, thick: float) -> list[Part]:
    make = dice.pick("disc", "disc", "dome", "square", "cross")
    if make == "disc":
        return [cylinder(radius, 0, thick, sides=24)]
    if make == "dome":
        curve = smooth([(radius, 0), (radius * 0.9, thick), (radius * 0.2, thick * 2.2)], 4)
        return [lathe(curve, 24)]
    if make == "square":
        return [box((1.8 * radius, 1.8 * radius, thick), (0, 0, thick / 2))]
    return [bar((-radius * 1.1, 0, thick / 2), (radius * 1.1, 0, thick / 2), thick),
            bar((0, -radius * 1.1, thick / 2), (0, radius * 1.1, thick / 2), thick)]  # fmt: skip


def floor_lamp(dice: Dice) -> list[Part]:
    """A tall light: pole, tripod or arc, with one to three shades."""
    tall = dice.between(1.0, 1.9)
    wide, high = dice.between(0.14, 0.32), dice.between(0.18, 0.42)
    pole = dice.between(0.01, 0.025)
    make = dice.pick("pole", "pole", "pole", "tripod", "arc", "tree", "column")
    if make == "tripod":
        joint = tall * dice.between(0.7, 0.95)
        reach = dice.between(0.25, 0.4)
        feet = circle(3, reach, math.pi / 2).tolist()
        legs = [tube([(x, y, 0), (x * 0.06, y * 0.06, joint)], pole * 0.9, 6) for x, y in feet]
        return [
            *legs,
            cylinder(pole, joint * 0.95, tall, sides=8),
            *move_all(_shade(dice, wide, high), z=tall - high * 0.5),
        ]
    base = _base(dice, dice.between(0.12, 0.2), dice.between(0.02, 0.04))
    if make == "column":
        body = [
            lathe(
                [(pole * 2, 0), (pole * dice.between(2, 4), tall * 0.5), (pole * 2, tall)],
                dice.pick(4, 6, 16),
            )
        ]
        return [*base, *body, *move_all(_shade(dice, wide, high), z=tall - high * 0.4)]
    if make == "arc":
        reach = dice.between(0.5, 1.0)
        side = dice.pick(-1.0, 1.0)
        path = smooth([(0, 0, 0), (0, 0, tall * 0.55), (side * reach * 0.3, 0, tall * 0.95),
                       (side * reach * 0.75, 0, tall), (side * reach, 0, tall * 0.85)], 5)  # fmt: skip
        end = tall * 0.85 - high * 0.8
        return [
            *base,
            tube(path, pole, 8),
            *move_all(_shade(dice, wide * 0.8, high * 0.8), x=side * reach, z=end),
        ]
    parts = [*base, cylinder(pole, 0, tall, sides=10)]
    if dice.chance(0.3):
        parts.append(cylinder(dice.between(0.12, 0.22), tall * 0.38, tall * 0.38 + 0.025, sides=20))  # a tray
    if make == "tree":
        count = dice.whole(2, 4)
        for i in range(count):
            level = tall * (1 - 0.22 * i)
            x, y = circle(count, 0.25).tolist()[i]
            parts.append(bar((0, 0, level * 0.92), (x, y, level), pole * 1.4))
            parts += move_all(_shade(dice, wide * 0.5, high * 0.5), x, y, level)
        return parts
    return parts + move_all(_shade(dice, wide, high), z=tall - high * dice.between(0.3, 0.9))


def _jointed(dice: Dice) -> list[Part]:
    """An arm of two rods with a head that looks down; a curved one instead now and then."""
    rod, tall = dice.between(0.006, 0.012), dice.between(0.2, 0.32)
    back, reach = dice.between(0.02, 0.14), dice.between(0.15, 0.32)
    base = _base(dice, dice.between(0.07, 0.11), dice.between(0.012, 0.03))
    y_end, z_end = back - reach, tall * dice.between(1.0, 1.5)
    if dice.chance(0.35):
        path = smooth(
            [(0, 0, 0), (0, back * 0.3, tall * 0.7), (0, y_end * 0.4, z_end * 1.15), (0, y_end, z_end)], 5
        )
        arms = [tube(path, rod, 8)]
    else:
        elbow = (0.0, back, tall)
        arms = [bar((0, 0, 0), elbow, 2 * rod), bar(elbow, (0, y_end, z_end), 2 * rod),
                cushion((rod * 4, rod * 4, rod * 4), elbow, 2.0, 8, 4)]  # fmt: skip
        if dice.chance(0.4):
            arms = [piece.moved(x=s * rod * 2) for piece in arms for s in (-1.0, 1.0)]
    radius, high = dice.between(0.045, 0.08), dice.between(0.07, 0.12)
    if dice.chance(0.3):  # a bar of light
        head = [box((dice.between(0.05, 0.3), radius * 2.5, 0.02), (0, 0, 0))]
    else:
        curve = smooth([(radius * 0.3, -high), (radius * 0.55, -high * 0.6), (radius, 0)], 4)
        head = [lathe(hollow(curve, radius * 0.08), 20).turned("x", math.pi)]
        head = [piece.moved(z=-high * 0.8) for piece in head]
    tilt = dice.between(-0.9, 0.2)
    return [*base, *arms, *(p.turned("x", tilt).moved(0, y_end, z_end) for p in head)]


def desk_lamp(dice: Dice) -> list[Part]:
    """A small light: a jointed arm, a shade on a vase, or a banker's lamp."""
    make = dice.pick("jointed", "jointed", "jointed", "table", "table", "table", "banker")
    if make == "jointed":
        return _jointed(dice)
    tall, wide = dice.between(0.2, 0.5), dice.between(0.08, 0.2)
    base = _base(dice, wide * dice.between(0.45, 0.8), dice.between(0.01, 0.03))
    if make == "banker":
        half, radius = dice.between(0.1, 0.16), dice.between(0.05, 0.075)
        arc = circle(20)[:11] * radius  # half a tube, open below
        gutter = np.concatenate([arc, 0.93 * arc[::-1]]) @ np.array([[0.0, 1.0], [-1.0, 0.0]])
        shade = prism(gutter, -half, half).turned("y", math.pi / 2)
        neck = bar((0, radius * 0.5, tall * 0.9), (0, 0, tall + radius * 0.9), 0.015)
        return [*base, cylinder(0.01, 0, tall * 0.9, (0.0, radius * 0.5), 10), neck, shade.moved(z=tall)]
    stem = dice.pick("vase", "vase", "pole", "ball", "block")
    high = dice.between(0.14, 0.28)
    if stem == "vase":
        belly = wide * dice.between(0.3, 0.75)
        curve = smooth([(belly * 0.6, 0), (belly, tall * dice.between(0.25, 0.6)), (belly * 0.25, tall * 0.9),
                        (belly * 0.2, tall)], 5)  # fmt: skip
        body = [lathe(curve, 20)]
    elif stem == "ball":
        size = tall / dice.whole(1, 3)
        body = [
            cushion((size, size, size), (0, 0, size * (i + 0.5)), 2.0, 16, 8)
            for i in range(round(tall / size))
        ]
    elif stem == "block":
        body = [box((wide * 0.7, wide * 0.7, tall), (0, 0, tall / 2), (dice.between(0.4, 1.0),) * 2)]
    else:
        body = [cylinder(0.012, 0, tall, sides=10)]
    return [*base, *body, *move_all(_shade(dice, wide, high), z=tall - high * dice.between(0.0, 0.3))]


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
            across = -y * 0.05 + deep * (r + 0.5) - depth * 0.08
            for x in centres(width * 0.88, columns):
                parts.append(box((wide * 0.85, deep * 0.82, 0.004), (x, across, thick + 0.002)))
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
