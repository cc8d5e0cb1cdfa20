"""Aeroplanes: airliners, fighters, gliders, light planes and biplanes, nose towards -y."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchot.shapes.library.part import Dice, Part, move_all, with_mirror
from batchot.shapes.library.solids import bar, box, cylinder, loft, superellipse, tube

_FOIL = np.array([[-0.5, 0.0], [-0.3, -0.45], [0.1, -0.45], [0.5, 0.0], [0.1, 0.55], [-0.3, 0.55]])


def hull(stations: Sequence[Sequence[float]], exponent: float = 2.0, sides: int = 16) -> Part:
    """A body along y through stations ``(y, z of the centre, width, height)``, from the nose on."""
    s = np.asarray(stations, dtype=np.float64)
    unit = superellipse(1.0, 1.0, exponent, sides)
    sections = np.empty((len(s), sides, 3))
    sections[:, :, 0] = s[:, 2:3] * unit[:, 0]
    sections[:, :, 1] = s[:, :1]
    sections[:, :, 2] = s[:, 1:2] - s[:, 3:] * unit[:, 1]
    return loft(sections)


def wing(
    root: float, tip: float, span: float, sweep: float, rise: float, thick: float, start: float = 0.0
) -> Part:
    """The right half of a wing, from x = ``start`` outwards; middle of the root chord at y = 0."""
    sections = np.empty((2, len(_FOIL), 3))
    for i, (chord, x, y, z) in enumerate([(root, start, 0.0, 0.0), (tip, start + span, sweep, rise)]):
        sections[i, :, 0] = x
        sections[i, :, 1] = y + chord * _FOIL[:, 0]
        sections[i, :, 2] = z + chord * thick * _FOIL[:, 1]
    return loft(sections)


def fin(root: float, tip: float, height: float, sweep: float, thick: float) -> Part:
    """A wing's half that stands upright on z = 0."""
    return wing(root, tip, height, sweep, 0.0, thick).turned("y", -math.pi / 2)


def propeller(blades: int, radius: float) -> list[Part]:
    """Blades and a hub in the plane y = 0."""
    hub = cylinder(radius * 0.12, 0, radius * 0.3, sides=10, upper=radius * 0.03).turned("x", math.pi / 2)
    blade = box((radius * 0.12, radius * 0.04, radius), (0, 0, radius / 2), (0.6, 1.0))
    return [hub, *(blade.turned("y", 2 * math.pi * i / blades) for i in range(blades))]


def nacelle(radius: float, long: float) -> Part:
    """A jet engine about the origin, along y."""
    return hull([(-long / 2, 0, 1.7 * radius, 1.7 * radius), (-long * 0.3, 0, 2 * radius, 2 * radius),
                 (long * 0.1, 0, 1.9 * radius, 1.9 * radius), (long / 2, 0, radius, radius)], 2.0, 14)  # fmt: skip


def _tail(dice: Dice, body: float, end: float, z: float, reach: float) -> list[Part]:
    """Fin and tailplane at y = ``end``; T-shaped, cruciform, in a V or with two fins."""
    chord, tall = body * dice.between(0.12, 0.18), body * dice.between(0.12, 0.19)
    sweep = tall * dice.between(0.1, 0.8)
    make = dice.pick("plain", "plain", "plain", "t", "vee", "twin")
    half = wing(chord, chord * 0.55, reach, reach * dice.between(0.05, 0.5), 0.0, 0.09)
    if make == "vee":
        return with_mirror([half.turned("y", -0.7).moved(0, end, z)])
    upright = fin(chord * 1.1, chord * 0.55, tall, sweep, 0.09)
    if make == "t":
        return [upright.moved(0, end, z), *with_mirror([half.moved(0, end + sweep, z + tall * 0.97)])]
    if make == "twin":
        spread = reach * dice.between(0.4, 0.95)
        return with_mirror(
            [half.moved(0, end, z), upright.scaled(1, 1, 0.75).moved(spread, end + reach * 0.1, z)]
        )
    return [upright.moved(0, end, z), *with_mirror([half.moved(0, end, z)])]


def airplane(dice: Dice) -> list[Part]:
    """An aeroplane; which kind decides on wings, engines, tail and wheels."""
    kind = dice.pick("jet", "jet", "jet", "fighter", "fighter", "light", "light", "glider", "biplane")
    long = 1.0
    wide = long * {"jet": 0.1, "fighter": 0.09, "light": 0.12, "glider": 0.06, "biplane": 0.12}[kind]
    wide *= dice.between(0.8, 1.25)
    nose, point = -long / 2, dice.between(0.15, 0.7) if kind != "fighter" else 0.1
    lift = 0.0 if kind == "fighter" else wide * dice.between(0.1, 0.35)
    stations = [
        (nose, -wide * 0.1, wide * point * 0.4, wide * point * 0.4),
        (nose + 0.06, -wide * 0.03, wide * 0.7, wide * 0.65),
        (nose + 0.16, 0, wide, wide), (dice.between(0.0, 0.15), 0, wide, wide),
        (0.32, lift * 0.6, wide * 0.6, wide * 0.65), (0.5, lift, wide * 0.16, wide * 0.2),
    ]  # fmt: skip
    parts = [hull(stations, dice.pick(2.0, 2.0, 3.0), 16)]
    parts += _wings(dice, kind, wide)
    parts += _tail(dice, long, 0.42, lift, long * dice.between(0.13, 0.22))
    if kind in ("fighter", "light", "glider", "biplane"):
        canopy = [(-0.32, wide * 0.4, 0.02, 0.02), (-0.22, wide * 0.5, wide * 0.65, wide * 0.75),
                  (-0.08, wide * 0.45, wide * 0.6, wide * 0.6), (0.06, wide * 0.4, 0.02, 0.02)]  # fmt: skip
        parts.append(hull(canopy, 2.0, 10))
    if kind in ("light", "biplane"):
        parts += move_all(propeller(dice.pick(2, 3, 4), dice.between(0.1, 0.15)), y=nose, z=-wide * 0.1)
    if dice.chance(0.5 if kind in ("jet", "fighter") else 0.85):
        parts += _wheels(dice, wide, tail_wheel=kind == "biplane")
    return parts


def _wings(dice: Dice, kind: str, wide: float) -> list[Part]:
    place, level = dice.between(-0.1, 0.02), dice.pick(-0.3, -0.3, 0.0, 0.42) * wide
    if kind == "glider":
        half = wing(
            0.09, 0.05, dice.between(0.7, 0.95), dice.between(-0.03, 0.04), dice.between(0.02, 0.09), 0.13
        )
        return with_mirror([half.moved(0, place, 0.4 * wide)])
    if kind == "fighter":
        span, root = dice.between(0.22, 0.36), dice.between(0.3, 0.5)
        tip = root * dice.between(0.05, 0.35)
        parts = with_mirror(
            [wing(root, tip, span, dice.between(0.1, 0.28), 0.0, 0.05).moved(0, place + 0.12, 0)]
        )
        if dice.chance(0.35):
            parts += with_mirror([wing(0.1, 0.04, 0.13, 0.06, 0.01, 0.06).moved(0, -0.22, wide * 0.1)])
        if dice.chance(0.5):
            nozzle = cylinder(wide * 0.3, 0, 0.1, sides=12).turned("x", -math.pi / 2)
            parts += (
                with_mirror([nozzle.moved(wide * 0.3, 0.42, 0)])
                if dice.chance(0.5)
                else [nozzle.moved(0, 0.44, 0)]
            )
        if dice.chance(0.4):
            store = nacelle(0.012, 0.16).moved(span * 0.6, place + 0.15, -0.035)
            parts += with_mirror([store])
        return parts
    if kind == "jet":
        return _jet_wings(dice, wide, place, level)
    span, root = dice.between(0.45, 0.65), dice.between(0.14, 0.2)
    rise = dice.between(0, 0.06) if kind == "light" else 0.0
    half = wing(root, root * dice.between(0.5, 1.0), span, dice.between(-0.02, 0.05), rise, 0.13)
    if kind == "light":
        parts = with_mirror([half.moved(0, place, level)])
        if level > 0:
            parts += with_mirror([bar((0, place, -wide * 0.4), (span * 0.5, place, level), 0.012)])
        elif dice.chance(0.35):  # two engines
            engine = [nacelle(0.03, 0.2), *move_all(propeller(3, 0.1), y=-0.1)]
            parts += with_mirror(move_all(engine, span * 0.35, place - 0.08, level + 0.01))
        return parts
    low, high, back = -0.4 * wide, wide * dice.between(0.9, 1.3), dice.between(-0.08, 0.05)
    struts = [
        bar((x, y, low), (x, y + back, high), 0.01) for x in (span * 0.25, span * 0.75) for y in (-0.05, 0.05)
    ]
    struts = [strut.moved(y=place) for strut in struts]
    return with_mirror([half.moved(0, place, low), half.moved(0, place + back, high), *struts])


def _jet_wings(dice: Dice, wide: float, place: float, level: float) -> list[Part]:
    span, root = dice.between(0.42, 0.6), dice.between(0.17, 0.26)
    sweep, rise = span * dice.between(0.1, 0.65), span * dice.between(-0.05, 0.12)
    half = wing(root, root * dice.between(0.2, 0.5), span, sweep, rise, 0.1).moved(0, place, level)
    parts = [half]
    if dice.chance(0.35):
        parts.append(fin(0.05, 0.03, 0.06, 0.03, 0.1).moved(span, place + sweep, level + rise))
    engines = dice.pick("two", "two", "four", "rear", "propellers")
    radius = dice.between(0.02, 0.035)
    spots = {"two": (0.32,), "four": (0.3, 0.6), "propellers": (0.3, 0.58), "rear": ()}[engines]
    for share in spots:
        x, y, z = span * share, place + sweep * share, level + rise * share
        if engines == "propellers":
            engine = [nacelle(radius * 0.8, 0.2), *move_all(propeller(4, 0.08), y=-0.1)]
            parts += move_all(engine, x, y - root * 0.4, z)
        else:
            parts.append(nacelle(radius, 0.13).moved(x, y - root * 0.35, z - radius * 1.2))
    if engines == "rear":
        parts.append(nacelle(radius, 0.15).moved(wide * 0.75, 0.3, wide * 0.25))
    return with_mirror(parts)


def _wheels(dice: Dice, wide: float, *, tail_wheel: bool) -> list[Part]:
    drop, radius = wide * dice.between(0.8, 1.2), dice.between(0.015, 0.03)
    wheel = cylinder(radius, -0.008, 0.008, sides=12).turned("y", math.pi / 2)
    main = [
        tube([(wide * 0.2, 0.0, 0.0), (wide * 0.8, 0.0, -drop)], 0.006, 5),
        wheel.moved(wide * 0.8, 0, -drop),
    ]
    y = 0.4 if tail_wheel else -0.36
    low = -drop * (0.3 if tail_wheel else 1.0)
    third = [tube([(0, y, 0), (0, y, low)], 0.005, 5), wheel.moved(0, y, low)]
    return with_mirror(move_all(main, y=-0.15 if tail_wheel else 0.05)) + third
