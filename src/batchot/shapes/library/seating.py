"""Chairs, stools and benches; beds, sofas and armchairs."""

from __future__ import annotations

import math

import numpy as np

from batchot.shapes.library.part import Dice, Part, move_all, turn_all, with_mirror
from batchot.shapes.library.solids import (
    Floats,
    bar,
    box,
    centres,
    cushion,
    cylinder,
    loft,
    prism,
    rectangle,
    side_prism,
    smooth,
    superellipse,
    tube,
)
from batchot.shapes.library.supports import Support, plate, slab, support, support_under


def curved_panel(width: float, height: float, thick: float, bulge: float, bottom: float = 0.0) -> Part:
    """A board that stands in x and z and bulges backwards (+y) by ``bulge``."""
    x = np.linspace(-width / 2, width / 2, 9)
    back = bulge * (1 - (2 * x / width) ** 2)
    front_edge = np.stack([x, back - thick / 2], axis=1)
    back_edge = np.stack([x, back + thick / 2], axis=1)[::-1]
    outline = np.concatenate([front_edge, back_edge])
    return slab(outline, bottom, height)


def backrest(dice: Dice, width: float, height: float, thick: float) -> list[Part]:
    """A back that stands on the plane z = 0 at y = 0, in one of the common makes."""
    make = dice.pick("panel", "spindles", "ladder", "frame", "splat", "cushion", "oval", "hoop")
    post = thick * dice.between(0.8, 1.2)
    x = width / 2 - post / 2
    posts = with_mirror([bar((-x, 0, 0), (-x * dice.between(0.9, 1.1), 0, height), post)])
    rail = box((width, post, height * dice.between(0.1, 0.22)), (0, 0, height * 0.92))
    if make == "panel":
        gap = dice.pick(0.0, 0.0, 0.25) * height
        panel = curved_panel(width, height - gap, thick * 0.6, dice.between(0, 0.12) * width, gap)
        return [panel, *posts] if gap else [panel]
    if make == "cushion":
        return [cushion((width, thick * 3, height), (0, 0, height / 2), dice.between(3, 8))]
    if make == "oval":
        low = height * dice.between(0.2, 0.4)
        egg = cushion((width * 0.95, thick * 1.3, height - low), (0, 0, (height + low) / 2), 2.4, 20, 8)
        return [egg, *with_mirror([bar((-x * 0.6, 0, 0), (-x * 0.5, 0, height * 0.6), post * 0.7)])]
    if make == "hoop":
        angles = np.linspace(math.pi, 0, 13)
        hoop = np.stack([x * np.cos(angles), 0 * angles, height * np.sin(angles) ** 0.6], axis=1)
        count = dice.whole(3, 7)
        places = np.linspace(-0.75, 0.75, count)
        rods = [bar((p * x, 0, 0), (p * x, 0, height * (1 - p * p) ** 0.3), post * 0.4) for p in places]
        return [tube(hoop, post / 2, 6), *rods]
    if make == "spindles":
        count = dice.whole(3, 8)
        rods = [
            bar((p, 0, 0), (p, 0, height * 0.9), post * 0.5)
            for p in np.linspace(-x, x, count + 2)[1:-1].tolist()
        ]
        return [*posts, rail, *rods]
    if make == "ladder":
        count = dice.whole(2, 5)
        rung = height * dice.between(0.08, 0.14)
        levels = np.linspace(0.25, 0.93, count).tolist()
        return [*posts, *(box((2 * x, post * 0.6, rung), (0, 0, height * level)) for level in levels)]
    if make == "splat":
        splat = box((width * dice.between(0.2, 0.4), post * 0.5, height * 0.9), (0, 0, height * 0.45),
                    (dice.between(0.6, 1.4), 1.0))  # fmt: skip
        return [*posts, rail, splat]
    low = height * dice.between(0.15, 0.35)
    panel = box((width * 0.92, post * 0.4, height - low), (0, 0, (height + low) / 2))
    return [*posts, rail, panel]


def _shell(dice: Dice, width: float, depth: float, seat: float, rise: float) -> Part:
    """Seat and back bent from one sheet."""
    y = depth / 2
    lean = dice.between(0.05, 0.3) * rise
    path = smooth([(-y, 0.02), (-y * 0.3, 0), (y * 0.55, 0.01), (y * 0.95, rise * 0.25), (y + lean, rise)], 4)
    widths = smooth([(width * 0.9,), (width,), (width * 0.95,), (width * 0.85,),
                     (width * dice.between(0.5, 0.95),)], 4)[:, 0]  # fmt: skip
    normals = np.gradient(path, axis=0)
    normals = np.stack([-normals[:, 1], normals[:, 0]], axis=1) / np.linalg.norm(normals, axis=1)[:, None]
    wing = dice.between(0.0, 0.08)
    thick = 0.012
    across = np.linspace(-1, 1, 7)
    upper = np.empty((len(path), 7, 3))
    upper[:, :, 0] = across * widths[:, None] / 2
    offset = wing * across**4
    upper[:, :, 1:] = path[:, None] + normals[:, None] * offset[None, :, None]
    lower = upper.copy()
    lower[:, :, 1:] -= thick * normals[:, None]
    sections: Floats = np.concatenate([upper[:, ::-1], lower], axis=1)
    return loft(sections[::-1].copy()).moved(z=seat)


_CHAIR_SUPPORTS: tuple[Support, ...] = (
    "square", "square", "round", "round", "turned", "star", "star", "pedestal", "sled", "panels", "hairpin",
)  # fmt: skip


def chair(dice: Dice) -> list[Part]:
    """A seat for one, with a back and no arms."""
    width, depth = dice.between(0.38, 0.52), dice.between(0.38, 0.5)
    seat, thick = dice.between(0.4, 0.5), dice.between(0.025, 0.05)
    rise = dice.pick(dice.between(0.35, 0.6), dice.between(0.35, 0.6), dice.between(0.16, 0.3))
    if dice.chance(0.08):  # at a bar
        seat *= 1.5
    style = dice.pick(*_CHAIR_SUPPORTS)
    if dice.chance(0.2):
        legs = support(dice, style, width * 0.85, depth * 0.85, seat, thick * 1.2)
        return [*legs, _shell(dice, width, depth, seat, rise)]
    outline = plate(dice, width, depth, round_share=0.3)
    legs = support_under(dice, style, outline, seat, thick * 1.2)
    board = slab(outline, seat - thick / 2, thick)
    parts = [*legs, board]
    if dice.chance(0.35):
        parts.append(cushion((width * 0.95, depth * 0.95, 0.07), (0, 0, seat + thick / 2 + 0.025)))
    back = backrest(dice, width * dice.between(0.8, 1.0), rise, thick)
    lean = dice.between(0.0, 0.28)
    return parts + move_all(turn_all(back, "x", -lean), y=depth / 2 - thick * 0.7, z=seat)


_STOOL_SUPPORTS: tuple[Support, ...] = (
    "square", "round", "round", "turned", "three", "three", "star", "pedestal", "pedestal", "cross", "sled",
    "panels", "drum", "hairpin",
)  # fmt: skip


def stool(dice: Dice) -> list[Part]:
    """A small seat for one without a back, or with the lowest of backs."""
    width = dice.between(0.3, 0.42)
    depth = width * dice.pick(1.0, 1.0, dice.between(0.7, 1.0))
    seat = dice.pick(dice.between(0.6, 0.8), dice.between(0.42, 0.6), dice.between(0.22, 0.42))
    thick = dice.between(0.025, 0.05)
    style = dice.pick(*_STOOL_SUPPORTS)
    outline = plate(dice, width, depth, round_share=0.6)
    parts = support_under(dice, style, outline, seat, thick * 1.1)
    parts.append(slab(outline, seat - thick / 2, thick))
    if dice.chance(0.4):
        pad = dice.between(0.05, 0.1)
        roundness = dice.pick(2.5, 5.0)
        parts.append(cushion((width, depth, pad), (0, 0, seat + thick / 2 + pad * 0.3), roundness, 20))
    if dice.chance(0.18) and seat > 0.55:
        back = backrest(dice, width * 0.8, dice.between(0.1, 0.2), thick)
        parts += move_all(turn_all(back, "x", -0.1), y=depth / 2 - thick, z=seat)
    return parts


_BENCH_SUPPORTS: tuple[Support, ...] = (
    "square", "square", "round", "panels", "panels", "trestle", "sled", "turned",
)  # fmt: skip


def bench(dice: Dice) -> list[Part]:
    """A long hard seat, with or without a back and arms."""
    backed = dice.chance(0.55)
    width = dice.between(0.95, 1.9)
    # Without a back, narrow: a wide one would be a low table.
    depth = dice.between(0.34, 0.48) if backed else min(width / 3.2, dice.between(0.26, 0.42))
    seat, thick = dice.between(0.38, 0.5), dice.between(0.03, 0.07)
    parts = support(
        dice, dice.pick(*_BENCH_SUPPORTS), width * dice.between(0.75, 0.97), depth, seat, thick * 1.3
    )
    if width > 1.5 and dice.chance(0.4):
        parts.append(box((thick * 1.2, depth * 0.9, seat), (0, 0, seat / 2)))
    padded = dice.chance(0.25)
    slatted = not padded and dice.chance(0.55)
    if padded:
        pad = dice.between(0.07, 0.16)
        parts.append(slab(rectangle(width, depth), seat - thick / 2, thick))
        parts.append(cushion((width, depth, pad), (0, 0, seat + pad * 0.4), dice.between(5, 12)))
    elif slatted:
        count = dice.whole(3, 7)
        slat = (width, depth / count * 0.75, thick * 0.8)
        parts += [box(slat, (0, y, seat)) for y in centres(depth, count)]
    else:
        parts.append(slab(rectangle(width, depth), seat - thick / 2, thick))
    if backed:
        parts += _bench_back(dice, width, depth, seat, thick, slatted)
    return parts


def _bench_back(
    dice: Dice, width: float, depth: float, seat: float, thick: float, slatted: bool
) -> list[Part]:
    rise = dice.between(0.3, 0.5)
    x = width / 2 - thick
    back = with_mirror([bar((-x, 0, 0), (-x, 0, rise), thick)])
    if dice.chance(0.4):
        count = dice.whole(6, 14)
        spots = np.linspace(-x, x, count + 2)[1:-1].tolist()
        back += [box((thick * 0.8, thick * 0.4, rise * 0.85), (p, 0, rise * 0.45)) for p in spots]
        back.append(box((width, thick, rise * 0.15), (0, 0, rise * 0.92)))
    else:
        count = dice.whole(2, 4) if slatted else 1
        tall = rise * (0.65 / count)
        levels = np.linspace(0.35, 0.9, count).tolist() if count > 1 else [0.62]
        back += [box((width, thick * 0.5, tall), (0, -thick * 0.3, rise * level)) for level in levels]
    parts = move_all(turn_all(back, "x", -dice.between(0.0, 0.3)), y=depth / 2, z=seat)
    if dice.chance(0.5):
        height = dice.between(0.16, 0.24)
        y = depth / 2
        arm = [bar((-x, -y * 0.85, seat), (-x, -y * 0.85, seat + height), thick),
               bar((-x, -y, seat + height), (-x, y * 1.1, seat + height), thick)]  # fmt: skip
        parts += with_mirror(arm)
    return parts


def bed(dice: Dice) -> list[Part]:
    """A mattress on a frame or a box, most with a headboard, some with pillows, posts or two storeys."""
    width, long = dice.pick(dice.between(0.8, 1.1), dice.between(1.3, 2.0)), dice.between(1.9, 2.2)
    frame, mattress = dice.between(0.18, 0.4), dice.between(0.14, 0.3)
    y, post = long / 2, dice.between(0.04, 0.1)
    storey = _bed_frame(dice, width, long, frame, post)
    storey.append(
        cushion((width * 0.97, long * 0.97, mattress), (0, 0, frame + mattress * 0.45), dice.between(6, 14))
    )
    top = frame + mattress * 0.9
    if dice.chance(0.65):
        count = 1 if width < 1.2 else 2
        size = (width / count * 0.8, 0.4, dice.between(0.1, 0.18))
        storey += [cushion(size, (x, y - 0.3, top + size[2] * 0.35), 3.0) for x in centres(width, count)]
    if dice.chance(0.3):
        storey.append(
            box((width * 1.02, long * dice.between(0.5, 0.7), mattress * 0.9), (0, -long * 0.17, top - 0.08))
        )
    if width < 1.2 and dice.chance(0.15):
        lift = dice.between(1.0, 1.3)
        x = width / 2
        posts = [bar((-x, s * y, 0), (-x, s * y, lift + top + 0.25), post) for s in (-1.0, 1.0)]
        rails = [bar((-x, -y, lift + top + 0.2), (-x, y, lift + top + 0.2), post * 0.7)]
        rungs = [bar((x * 0.4, -y, 0.3 * i), (x, -y, 0.3 * i), post * 0.6) for i in range(1, 5)]
        return storey + move_all(storey, z=lift) + with_mirror(posts + rails) + rungs
    head = dice.between(0.7, 1.3)
    if width < 1.2 and dice.chance(0.25):  # a day bed: three sides
        side = move_all(backrest(dice, long, head * 0.7, post), z=frame * 0.5)
        storey += [piece.turned("z", math.pi / 2).moved(x=-width / 2) for piece in side]
        ends = move_all(backrest(dice, width, head * 0.65, post), z=frame * 0.5)
        storey += with_mirror(move_all(ends, y=y), "y")
    elif dice.chance(0.85):
        board = backrest(dice, width * 1.02, head - frame * 0.5, post)
        storey += move_all(board, y=y, z=frame * 0.5)
        if dice.chance(0.3):
            foot = backrest(dice, width * 1.02, (head - frame * 0.5) * dice.between(0.4, 0.7), post)
            storey += move_all(foot, y=-y, z=frame * 0.5)
    if dice.chance(0.1):
        storey += _canopy(width, long, dice.between(1.7, 2.1), post)
    return storey


def _bed_frame(dice: Dice, width: float, long: float, height: float, post: float) -> list[Part]:
    if dice.chance(0.45):
        return [box((width, long, height), (0, 0, height / 2))]
    style: Support = dice.pick("square", "square", "round", "turned", "panels")
    rim = height * dice.between(0.25, 0.6)
    return [
        *support(dice, style, width, long, height, post),
        box((width, long, rim), (0, 0, height - rim / 2)),
    ]


def _canopy(width: float, long: float, height: float, post: float) -> list[Part]:
    x, y = width / 2, long / 2
    side = [bar((-x, -y, 0), (-x, -y, height), post), bar((-x, y, 0), (-x, y, height), post),
            bar((-x, -y, height), (-x, y, height), post)]  # fmt: skip
    return [
        *with_mirror(side),
        bar((-x, -y, height), (x, -y, height), post),
        bar((-x, y, height), (x, y, height), post),
    ]


def _arm(thick: float, depth: float, bottom: float, top: float, make: str) -> list[Part]:
    """The left arm, its outside at x = 0 and all of it at x > 0."""
    x, height = thick / 2, top - bottom
    if make == "roll":
        roll = cylinder(thick * 0.75, -depth / 2, depth / 2, sides=14).turned("x", math.pi / 2)
        return [
            box((thick * 0.8, depth, height * 0.85), (x, 0, bottom + height * 0.42)),
            roll.moved(x, 0, top),
        ]
    if make == "slope":
        y = depth / 2
        outline = np.array([[-y, bottom], [y, bottom], [y, top * 1.15], [-y, bottom + height * 0.7]])
        return [side_prism(outline, 0, thick)]
    if make == "open":
        y, t = depth / 2, thick * 0.35
        return [bar((x, -y * 0.85, 0), (x, -y * 0.85, top), t), bar((x, y * 0.8, 0), (x, y * 0.8, top), t),
                box((thick * 0.6, depth * 0.95, t), (x, 0, top))]  # fmt: skip
    if make == "soft":
        return [cushion((thick, depth, height), (x, 0, (top + bottom) / 2), 5.0)]
    return [box((thick, depth, height), (x, 0, (top + bottom) / 2))]


def _padded_seat(dice: Dice, width: float, seats: int, armless: bool = False) -> list[Part]:
    """``seats`` places beside one another between two arms, in front of a back."""
    depth = dice.between(0.7, 0.95)
    leg = dice.pick(0.03, dice.between(0.06, 0.2))
    base, seat = dice.between(0.1, 0.2), dice.between(0.38, 0.46)
    arm, back = dice.between(0.08, 0.24), dice.between(0.12, 0.25)
    arm_top, top = dice.between(0.5, 0.68), dice.between(0.7, 1.0)
    y = depth / 2
    make = dice.pick("block", "block", "roll", "slope", "open", "soft")
    parts: list[Part] = []
    if make == "open":
        leg, arm = max(leg, 0.22), arm * 0.6
    else:
        style: Support = dice.pick("square", "round", "turned", "sled")
        parts += support(dice, style, width * 0.92, depth * 0.85, leg, dice.between(0.03, 0.07))
    inner = width if armless else width - 2 * arm
    parts.append(box((width if make != "open" else inner, depth, base), (0, 0, leg + base / 2)))
    if not armless:
        left = _arm(arm, depth * dice.between(0.85, 1.0), leg, arm_top, make)
        parts += with_mirror(move_all(left, x=-width / 2))
    parts += _cushions(dice, inner, depth, leg + base, seat, top, back, seats)
    behind = box((inner, back * 0.6, top * 0.94 - leg), (0, y - back * 0.3, (top * 0.94 + leg) / 2))
    if dice.chance(0.25):
        behind = cushion((inner, back, top - leg), (0, y - back / 2, (top + leg) / 2), 6.0)
    parts.append(behind)
    return parts


def _cushions(dice: Dice, inner: float, depth: float, base: float, seat: float, top: float, back: float,
              seats: int) -> list[Part]:  # fmt: skip
    roundness = dice.between(4, 10)
    y = depth / 2
    count = dice.pick(seats, seats, 1)
    pitch, spots = inner / count, centres(inner, count)
    tall = max(seat - base, 0.08)
    seat_pads = [
        cushion((pitch * 0.98, depth - back, tall), (s, -back / 2, base + tall / 2), roundness) for s in spots
    ]
    if dice.chance(0.75):
        high = top - base - tall
        pads = [cushion((pitch * 0.96, back * 0.9, high), (s, 0, high / 2), roundness) for s in spots]
        seat_pads += move_all(turn_all(pads, "x", -0.12), y=y - back * 1.1, z=base + tall * 0.9)
    return seat_pads


def _tub(dice: Dice) -> list[Part]:
    """A round armchair: the back runs on into the arms."""
    width, depth, seat = dice.between(0.6, 0.85), dice.between(0.55, 0.75), dice.between(0.36, 0.46)
    top, front, thick = dice.between(0.66, 1.0), dice.between(0.48, 0.64), dice.between(0.04, 0.16)
    low, reach, steep = dice.pick(0.12, seat - 0.06), dice.between(-0.1, 0.6), dice.between(0.7, 3.0)
    roundness = dice.pick(2.0, 2.0, 3.5)
    angles = np.linspace(-reach, math.pi + reach, 21)
    height = front + (top - front) * np.clip(np.sin(angles), 0, 1) ** steep
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    unit = np.sign(unit) * np.abs(unit) ** (2 / roundness)
    sections = np.empty((21, 4, 3))
    inner, foot = 1 - 2 * thick / width, np.full_like(height, low)
    for column, (scale, z) in enumerate([(1.0, foot), (1.0, height), (inner, height), (inner, foot)]):
        sections[:, column, :2] = scale * unit * np.array([width / 2, depth / 2])
        sections[:, column, 2] = z
    wall = loft(sections[:, ::-1].copy())
    ring = superellipse(width * 0.92, depth * 0.92, roundness, 20)
    pad = cushion((width * 0.9, depth * 0.92, 0.14), (0, 0, seat - 0.06), 3)
    parts = [wall, prism(ring, low, max(low, seat - 0.08) + 0.02), pad]
    style: Support = dice.pick("round", "square", "star", "pedestal", "sled")
    return parts + support(dice, style, width * 0.7, depth * 0.7, low + 0.01, 0.04)


def armchair(dice: Dice) -> list[Part]:
    """A padded or framed seat for one, with a back and two arms."""
    make = dice.pick("padded", "padded", "tub", "office", "frame")
    if make == "padded":
        return _padded_seat(dice, dice.between(0.65, 1.0), 1)
    if make == "tub":
        return _tub(dice)
    width, depth, seat = dice.between(0.5, 0.62), dice.between(0.48, 0.58), dice.between(0.4, 0.48)
    thick, rise = dice.between(0.03, 0.05), dice.between(0.35, 0.65)
    style: Support = (
        dice.pick("star", "star", "pedestal") if make == "office" else dice.pick("square", "round", "sled")
    )
    parts = support(dice, style, width * 0.95, depth * 0.95, seat - 0.04, thick * 1.2)
    parts.append(cushion((width, depth, 0.1), (0, 0, seat), 6.0))
    back = backrest(dice, width * dice.between(0.85, 1.0), rise, thick)
    parts += move_all(turn_all(back, "x", -dice.between(0.05, 0.3)), y=depth / 2 - thick, z=seat)
    x, y, top = width / 2 + thick * 0.6, depth / 2, seat + dice.between(0.18, 0.26)
    front = -y * dice.between(0.2, 0.95)
    arm = [box((thick * 1.5, y * 0.95 - front, thick * 0.8), (-x, (front + y * 0.95) / 2, top)),
           bar((-x, front + thick, seat * 0.95), (-x, front + thick, top), thick)]  # fmt: skip
    if make == "office":
        arm.append(bar((-x, front + thick, seat), (-x * 0.7, front + thick, seat - 0.02), thick))
    return parts + with_mirror(arm)


def sofa(dice: Dice) -> list[Part]:
    """A padded seat for two or more, with a back; some on a wooden frame, some with a chaise longue."""
    if dice.chance(0.15):
        return _settee(dice)
    seats = dice.pick(2, 2, 3, 3, 4)
    width = seats * dice.between(0.55, 0.72) + dice.between(0.1, 0.4)
    parts = _padded_seat(dice, width, seats, armless=dice.chance(0.12))
    if seats > 2 and dice.chance(0.3):
        side = dice.pick(-1.0, 1.0)
        long = dice.between(0.6, 0.9)
        parts.append(
            box((width / seats, long, 0.3), (side * (width - width / seats) / 2, -0.35 - long / 2, 0.2))
        )
        pad = (width / seats * 0.95, long, 0.14)
        parts.append(cushion(pad, (side * (width - width / seats) / 2, -0.35 - long / 2, 0.38), 6.0))
    return parts


def _settee(dice: Dice) -> list[Part]:
    """A sofa on a wooden frame: a cushion, a back of posts or panels, arms of bars."""
    width, depth, seat = dice.between(1.1, 2.0), dice.between(0.6, 0.8), dice.between(0.3, 0.4)
    thick, rise = dice.between(0.04, 0.07), dice.between(0.4, 0.6)
    style: Support = dice.pick("square", "round", "turned")
    parts = support(dice, style, width, depth, seat, thick)
    parts.append(box((width, depth, 0.08), (0, 0, seat)))
    count = dice.whole(1, 3)
    pitch, spots = width * 0.94 / count, centres(width * 0.94, count)
    parts += [cushion((pitch * 0.98, depth * 0.95, 0.16), (s, 0, seat + 0.1), 5.0) for s in spots]
    if dice.chance(0.6):
        pads = [cushion((pitch * 0.9, 0.16, rise * 0.9), (s, 0, rise * 0.5), 4.0) for s in spots]
        parts += move_all(turn_all(pads, "x", -0.2), y=depth * 0.38, z=seat + 0.1)
    parts += move_all(turn_all(backrest(dice, width, rise, thick), "x", -0.2), y=depth / 2, z=seat)
    x, y, top = width / 2 - thick / 2, depth / 2, seat + dice.between(0.2, 0.3)
    arm = [bar((-x, -y + thick, seat), (-x, -y + thick, top), thick),
           box((thick * 1.4, depth, thick * 0.8), (-x, 0, top))]  # fmt: skip
    return parts + with_mirror(arm)
