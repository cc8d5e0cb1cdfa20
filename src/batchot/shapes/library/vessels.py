"""Bottles, vases, bowls and cups: surfaces of revolution, some of them not quite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchot.shapes.library.part import Dice, Part
from batchot.shapes.library.solids import Floats, circle, cylinder, lathe, smooth, superellipse, tube


def hollow(outer: Sequence[Sequence[float]] | Floats, wall: float) -> Floats:
    """The closed profile of a vessel of thickness ``wall`` that is open at the top, from its outside."""
    outside = np.asarray(outer, dtype=np.float64)
    outside = outside[outside[:, 0] > 0]
    floor = outside[0, 1] + wall
    inside = outside[::-1].copy()
    inside[:, 0] = np.maximum(inside[:, 0] - wall, wall * 0.2)
    inside = inside[inside[:, 1] > floor]
    bottom = np.array([[0.0, outside[0, 1]]])
    return np.concatenate([bottom, outside, inside, [[inside[-1, 0], floor], [0.0, floor]]])


def _ring(dice: Dice, sides: int, plain: float) -> Floats:
    """The outline of a vessel from above: a circle with probability ``plain``, else squarish or fluted."""
    if dice.chance(plain):
        return circle(sides)
    make = dice.pick("square", "flutes", "polygon", "oval")
    if make == "square":
        return superellipse(1.8, 1.8, dice.between(4, 9), 24)
    if make == "polygon":
        return circle(dice.whole(4, 8), 1.0, math.pi / 4)
    if make == "oval":
        return circle(sides) * np.array([1.0, dice.between(0.5, 0.75)])
    lobes = dice.whole(5, 12)
    angles = np.arange(4 * lobes) * (math.pi / (2 * lobes))
    return circle(4 * lobes) * (1 + dice.between(0.04, 0.12) * np.cos(lobes * angles))[:, None]


def bottle(dice: Dice) -> list[Part]:
    """A body, a shoulder and a narrow neck, closed with a cap, a cork or nothing."""
    tall = dice.between(0.2, 0.34)
    r = tall * dice.between(0.12, 0.24)
    neck = r * dice.between(0.25, 0.5)
    shoulder, throat = tall * dice.between(0.4, 0.7), tall * dice.between(0.72, 0.86)
    make = dice.pick("wine", "soft", "flask", "waist", "cone")
    body: list[tuple[float, float]] = [(r * 0.85, 0.0), (r, tall * 0.03)]
    if make == "wine":
        body += [(r, shoulder * 0.9), (r * 0.96, shoulder), (neck * 1.3, throat * 0.96), (neck, throat)]
    elif make == "soft":
        body += [
            (r, shoulder * 0.6),
            (r * 0.98, shoulder),
            (r * 0.6, (shoulder + throat) / 2),
            (neck, throat),
        ]
    elif make == "flask":
        body += [(r * 1.15, shoulder * 0.4), (r, shoulder * 0.75), (neck * 1.2, shoulder), (neck, throat)]
    elif make == "waist":
        body += [(r, shoulder * 0.25), (r * 0.78, shoulder * 0.55), (r, shoulder * 0.95), (r * 0.8, shoulder * 1.1),
                 (neck, throat)]  # fmt: skip
    else:
        body += [(r * 0.9, shoulder * 0.7), (r * 0.6, shoulder), (neck, throat)]
    curve = smooth(body, 4) if dice.chance(0.75) else np.array(body)
    lip = neck * dice.between(1.0, 1.25)
    profile = np.concatenate(
        [[[0.0, 0.0]], curve, [[neck, tall * 0.95], [lip, tall * 0.955], [lip, tall], [0.0, tall]]]
    )
    profile[:, 0] = np.maximum(profile[:, 0], 0.0)
    parts = [lathe(profile, dice.pick(16, 24), ring=_ring(dice, 20, 0.72))]
    end = dice.pick("cap", "cap", "cork", "none", "pump")
    if end == "cap":
        wide = neck * dice.between(1.15, 1.6)
        parts.append(cylinder(wide, tall * 0.93, tall * dice.between(1.0, 1.08), sides=16))
    elif end == "cork":
        parts.append(cylinder(neck * 0.8, tall * 0.98, tall * 1.05, sides=12, upper=neck * 0.95))
    elif end == "pump":
        parts += [cylinder(neck * 1.2, tall * 0.95, tall * 1.02, sides=12),
                  cylinder(neck * 0.3, tall, tall * 1.12, sides=8),
                  tube([(0, neck * 0.5, tall * 1.12), (0, -r * 0.9, tall * 1.12)], neck * 0.4, 6)]  # fmt: skip
    return parts


def vase(dice: Dice) -> list[Part]:
    """An open vessel taller than wide, whose belly, neck and lip are drawn at random."""
    tall = dice.between(0.2, 0.45)
    make = dice.pick("urn", "trumpet", "tulip", "jar", "bottle", "tube")
    squat = make in ("urn", "tulip", "jar", "bottle") and dice.chance(0.5)
    belly = tall * (dice.between(0.3, 0.6) if squat else dice.between(0.16, 0.38))
    foot = belly * dice.between(0.45, 0.8)
    shapes = {
        "urn": [(1.0, 0.55), (0.55, 0.85), (0.75, 1.0)],
        "trumpet": [(0.55, 0.4), (0.7, 0.75), (1.1, 1.0)],
        "tulip": [(0.95, 0.3), (0.8, 0.7), (0.95, 1.0)],
        "jar": [(1.0, 0.35), (1.0, 0.75), (0.75, 1.0)],
        "bottle": [(1.0, 0.3), (0.35, 0.65), (0.45, 1.0)],
        "tube": [(0.7, 0.3), (0.7, 0.7), (0.75, 1.0)],
    }
    points = [(foot, 0.0)]
    for radius, height in shapes[make]:
        jitter = dice.between(0.88, 1.12) if height < 1 else 1.0
        points.append((belly * radius * dice.between(0.85, 1.15), tall * height * jitter))
    curve = smooth(points, 5)
    if dice.chance(0.3):  # a foot ring
        curve = np.concatenate(
            [[[foot * 1.2, -0.06 * tall], [foot * 1.2, -0.03 * tall], [foot * 0.8, -0.01]], curve]
        )
    ring = _ring(dice, 24, 0.6)
    edged = len(ring) != 24
    twist = dice.between(-1.2, 1.2) if edged and dice.chance(0.5) else 0.0
    parts = [lathe(hollow(curve, belly * 0.08), ring=ring, twist=twist)]
    if not twist and dice.chance(0.2):
        levels = np.array([0.88, 0.45]) * tall
        upper, lower = (np.interp(levels, curve[:, 1], curve[:, 0]) * ring[0, 0] * 0.97).tolist()
        mid = max(upper, lower) + belly * 0.3
        top, end = levels.tolist()
        path = smooth([(upper, 0, top), (mid, 0, top * 0.97), (mid, 0, tall * 0.6), (lower, 0, end)], 4)
        handle = tube(path, belly * 0.09, 6)
        parts += [handle, handle.turned("z", math.pi)]
    return parts


def bowl(dice: Dice) -> list[Part]:
    """A wide open vessel, shallow to nearly as deep as a cup, some on a foot."""
    r = dice.between(0.07, 0.16)
    tall = r * dice.pick(dice.between(0.4, 0.8), dice.between(0.7, 1.35))
    foot = r * dice.between(0.3, 0.65)
    belly = dice.between(0.7, 1.0)
    points = [(foot, 0.0), (foot + (r - foot) * 0.55 * belly, tall * 0.2), (r * belly, tall * 0.6), (r, tall)]
    curve = smooth(points, 5)
    if dice.chance(0.3):
        curve = np.concatenate([curve, [[r * dice.between(1.1, 1.35), tall * 1.02]]])
    stem = dice.pick("none", "ring", "ring", "stem")
    if stem != "none":
        low = tall * (0.12 if stem == "ring" else dice.between(0.4, 0.8))
        waist = foot * (0.9 if stem == "ring" else 0.4)
        curve = np.concatenate([[[foot * 1.05, -low], [foot, -low * 0.8], [waist, -low * 0.3]], curve])
    parts = [lathe(hollow(curve, r * dice.between(0.04, 0.1)), ring=_ring(dice, 28, 0.7))]
    if dice.chance(0.12):
        levels = np.array([0.92, 0.6]) * tall
        upper, lower = (np.interp(levels, curve[:, 1], curve[:, 0]) * 0.95).tolist()
        path = smooth([(upper, 0, tall * 0.92), (r * 1.3, 0, tall * 0.86), (lower, 0, tall * 0.6)], 4)
        ear = tube(path, r * 0.07, 6)
        parts += [ear, ear.turned("z", math.pi)]
    return parts


def cup(dice: Dice) -> list[Part]:
    """A vessel to drink from: most with a handle, some on a saucer, some plain."""
    r = dice.between(0.035, 0.05)
    tall = r * dice.between(1.3, 3.0)
    make = dice.pick("mug", "tea", "cone", "barrel")
    low = {"mug": 1.0, "tea": 0.5, "cone": 0.65, "barrel": 0.85}[make] * r
    mid = {"mug": 1.0, "tea": 0.9, "cone": 0.83, "barrel": 1.1}[make] * r * dice.between(0.95, 1.05)
    if make == "tea":
        tall = r * dice.between(1.0, 1.6)
    points = [(low, 0.0), (low * 1.02, tall * 0.06), (mid, tall * 0.5), (r, tall)]
    curve = smooth(points, 4)
    parts = [lathe(hollow(curve, r * dice.between(0.06, 0.13)), ring=_ring(dice, 24, 0.92))]
    if dice.chance(0.95 if tall < 1.9 * r else 0.6):
        reach = r * dice.between(0.45, 0.8)
        top, bottom = tall * dice.between(0.78, 0.9), tall * dice.between(0.2, 0.4)
        mean = (top + bottom) / 2
        path = [(r * 0.93, 0, top), (r + reach * 0.8, 0, top), (r + reach, 0, mean),
                (r + reach * 0.7, 0, bottom), (mid * 0.9, 0, bottom)]  # fmt: skip
        side = dice.pick(0.0, math.pi)
        curved = smooth(path, 4) if dice.chance(0.75) else np.array(path, dtype=np.float64)
        parts.append(tube(curved, r * dice.between(0.09, 0.16), 8).turned("z", side))
    if dice.chance(0.15):
        wide = r * dice.between(1.7, 2.2)
        plate = [(wide * 0.55, -0.004), (wide, 0.006 + wide * 0.08)]
        parts.append(
            lathe(hollow(np.array([plate[0], (wide * 0.6, 0.0), plate[1]]), 0.004), 24).moved(z=-0.002)
        )
    return parts
