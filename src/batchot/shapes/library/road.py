"""Cars, and what they share with trucks, front towards -y."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchot.shapes.library.dice import Dice
from batchot.shapes.library.outlines import Floats
from batchot.shapes.library.part import Part, with_mirror
from batchot.shapes.library.solids import box, cylinder, lathe, loft, side_prism


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
