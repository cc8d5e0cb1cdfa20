"""Chairs, stools and benches."""

from __future__ import annotations

import math

import numpy as np

from batchot.shapes.library.part import Dice, Part, move_all, turn_all, with_mirror
from batchot.shapes.library.solids import Floats, bar, box, cushion, loft, rectangle, smooth, tube
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
    "square",
    "square",
    "round",
    "panels",
    "panels",
    "trestle",
    "sled",
    "turned",
)


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
        pitch = depth / count
        parts += [
            box((width, pitch * 0.75, thick * 0.8), (0, -depth / 2 + pitch * (i + 0.5), seat))
            for i in range(count)
        ]
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
