"""Cars, trucks, and aeroplanes: airliners, fighters, gliders, light planes and biplanes; noses towards -y."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchot.shapes.library.part import Dice, Part, move_all, with_mirror
from batchot.shapes.library.solids import (
    Floats,
    bar,
    block,
    box,
    circle,
    cylinder,
    lathe,
    loft,
    side_prism,
    superellipse,
    tube,
)


def wheels(places: Sequence[float], radius: float, track: float, thick: float, sides: int = 18) -> list[Part]:
    """A pair of wheels with hubs at each y of ``places``, their outsides ``track`` apart."""
    tyre = lathe([(radius * 0.55, 0), (radius * 0.95, 0), (radius, thick * 0.25), (radius, thick * 0.75),
                  (radius * 0.95, thick), (radius * 0.55, thick)], sides)  # fmt: skip
    hub = cylinder(radius * 0.5, thick * 0.1, thick * 0.85, sides=10)
    side = [
        piece.turned("y", math.pi / 2).moved(track / 2 - thick, y, radius)
        for y in places
        for piece in (tyre, hub)
    ]
    return with_mirror(side)


def side_outline(
    corners: Sequence[Sequence[float]], arches: Sequence[float], radius: float, floor: float
) -> Floats:
    """Corners of a body's side from front bottom over the roof to back bottom, arches cut into its floor."""
    bottom = []
    for y in arches:
        angles = np.linspace(math.pi, 0, 7)
        bottom += [(y + radius * math.cos(a), floor + radius * 0.95 * math.sin(a)) for a in angles.tolist()]
    return np.array([*bottom, *list(corners)[::-1]])


def greenhouse(width: float, low: Sequence[float], high: Sequence[float], belt: float, roof: float) -> Part:
    """The cabin: at the height ``belt`` from ``low[0]`` to ``low[1]`` in y, at the ``roof`` as ``high`` says."""
    sections = np.empty((2, 4, 3))
    for i, ((front, back), z, wide) in enumerate([(low, belt, width * 0.94), (high, roof, width * 0.76)]):
        x = wide / 2
        sections[i] = [(-x, front, z), (x, front, z), (x, back, z), (-x, back, z)]
    return loft(sections)


def car(dice: Dice) -> list[Part]:
    """A passenger car: saloon, hatchback, estate, off-roader, sports car, convertible or small van."""
    kind = dice.pick("saloon", "saloon", "hatch", "hatch", "estate", "suv", "suv", "sports", "open", "van")
    long = {"hatch": 3.8, "sports": 4.3, "open": 4.2, "van": 4.6}.get(kind, 4.6) * dice.between(0.92, 1.08)
    width = dice.between(1.65, 1.95)
    radius = dice.between(0.29, 0.34) * (1.15 if kind == "suv" else 1.0)
    floor = {"suv": 0.34, "sports": 0.14, "van": 0.26}.get(kind, 0.2) * dice.between(0.85, 1.15)
    belt = {"suv": 1.05, "sports": 0.78, "open": 0.82, "van": 1.0}.get(kind, 0.9) * dice.between(0.94, 1.06)
    roof = {"suv": 1.75, "sports": 1.18, "van": 1.9}.get(kind, 1.45) * dice.between(0.96, 1.06)
    y = long / 2
    axles = (-y + long * dice.between(0.17, 0.21), y - long * dice.between(0.17, 0.22))
    hood, slope = long * dice.between(0.24, 0.3), dice.between(0.35, 0.7)
    if kind == "van":
        hood, slope = long * 0.12, 0.5
    tail = {"saloon": long * 0.2, "sports": long * 0.14, "open": long * 0.26}.get(kind, 0.05)
    nose, rear = belt * dice.between(0.62, 0.85), belt * dice.between(0.92, 1.0)
    corners = [
        (-y + 0.05, floor), (-y, floor + 0.15), (-y + 0.02, nose * 0.9), (-y + 0.15, nose), (-y + hood, belt * 0.97),
        (y - tail, belt), (y - 0.08, rear), (y, rear * 0.85), (y - 0.03, floor + 0.1), (y - 0.1, floor),
    ]  # fmt: skip
    outline = side_outline(corners, axles, radius * 1.12, floor)
    parts = [side_prism(outline, -width / 2, width / 2), *wheels(axles, radius, width * 1.01, 0.22)]
    front = -y + hood
    end = {"saloon": 0.55, "sports": 0.9, "hatch": 0.35, "estate": 0.2}.get(kind, 0.1) * dice.between(
        0.8, 1.2
    )
    if kind == "open":
        frame = [
            (front, belt),
            (front + 0.08, belt),
            (front + slope + 0.05, roof * 0.88),
            (front + slope, roof * 0.88),
        ]
        parts.append(side_prism(np.array(frame), -width * 0.43, width * 0.43))
        seat = box((width * 0.28, 0.2, 0.7), (0, 0, belt)).turned("x", -0.2)
        rows = (0.35,) if dice.chance(0.6) else (0.0, 0.75)
        parts += [
            seat.moved(s * width * 0.22, front + slope + 0.2 + row, 0) for row in rows for s in (-1.0, 1.0)
        ]
    else:
        back = y - tail
        parts.append(greenhouse(width, (front, back), (front + slope, back - end), belt, roof))
    return parts + _trim(dice, width, y, floor, belt, nose, front, roof, kind)


def _trim(dice: Dice, width: float, y: float, floor: float, belt: float, nose: float, front: float, roof: float,
          kind: str) -> list[Part]:  # fmt: skip
    parts = []
    if dice.chance(0.7):
        parts += with_mirror([box((0.18, 0.08, 0.13), (width / 2 + 0.06, front + 0.25, belt + 0.07))])
    if dice.chance(0.6):
        parts += [box((width * 0.96, 0.14, 0.16), (0, s * y, floor + 0.22)) for s in (-1.0, 1.0)]
    if dice.chance(0.5):
        lamp = cylinder(0.09, -0.04, 0.04, sides=10).turned("x", math.pi / 2)
        parts += with_mirror([lamp.moved(width * 0.36, -y + 0.02, nose * 0.85)])
    if dice.chance(0.6 if kind == "sports" else 0.1):
        z = belt + dice.between(0.12, 0.3)
        parts.append(box((width * 0.95, 0.25, 0.04), (0, y - 0.15, z)))
        parts += with_mirror(
            [box((0.05, 0.12, z - belt + 0.1), (width * 0.35, y - 0.18, (z + belt) / 2 - 0.05))]
        )
    if kind in ("suv", "estate", "van") and dice.chance(0.4):
        rack = [box((0.04, 1.4, 0.04), (width * 0.33, 0.35, roof + 0.05))]
        parts += with_mirror(rack) + [
            box((width * 0.68, 0.04, 0.03), (0, s, roof + 0.06)) for s in (0.0, 0.7)
        ]
    if kind == "suv" and dice.chance(0.4):
        spare = cylinder(0.33, 0, 0.2, sides=16).turned("x", -math.pi / 2)
        parts.append(spare.moved(0, y, belt * 0.85))
    return parts


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
