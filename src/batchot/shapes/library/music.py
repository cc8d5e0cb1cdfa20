"""Guitars and violins, upright, their strings towards -y."""

from __future__ import annotations

import math

import numpy as np

from batchot.shapes.library.part import Dice, Part, with_mirror
from batchot.shapes.library.solids import (
    Floats,
    bar,
    box,
    cylinder,
    front_prism,
    loft,
    smooth,
    smooth_outline,
    symmetric,
    tube,
)


def _face_cylinder(radius: float, thick: float, x: float, z: float, front: float, sides: int = 14) -> Part:
    """A disc that lies on the plane y = ``front`` and stands ``thick`` out of it."""
    return cylinder(radius, 0, thick, sides=sides).turned("x", math.pi / 2).moved(x, front, z)


def _neck(bottom: float, top: float, front: float, wide: float, deep: float) -> list[Part]:
    """A neck with its fingerboard, from z = ``bottom`` to ``top``."""
    neck = tube([(0, front + deep * 0.4, bottom), (0, front + deep * 0.4, top)], [wide * 0.62, wide * 0.5], 8)
    board = box(
        (wide * 1.15, deep * 0.35, top - bottom), (0, front - deep * 0.1, (top + bottom) / 2), (0.8, 1.0)
    )
    return [neck, board]


def _head(dice: Dice, top: float, front: float, wide: float, pegs: int) -> list[Part]:
    """The head of a guitar and its tuning pegs, in a row or three to a side."""
    tall, y = wide * dice.between(2.6, 4.0), front + 0.01
    in_row = dice.chance(0.4)
    if in_row:
        outline = np.array([(-0.5, 0), (0.5, 0), (0.9, 0.25), (0.75, 0.95), (0.3, 1.0), (-0.6, 0.3)])
    else:
        outline = np.array([(-0.5, 0), (0.5, 0), (0.95, 0.2), (0.8, 1.0), (0.0, dice.between(0.85, 1.05)), (-0.8, 1.0),
                            (-0.95, 0.2)])  # fmt: skip
    scale = np.array([wide * 1.0, tall])
    parts = [front_prism(outline * scale, -0.008, 0.012).turned("x", -0.2).moved(0, y, top)]
    for i in range(pegs):
        level = top + tall * (0.25 + 0.62 * (i if in_row else i // 2) / (pegs if in_row else pegs / 2))
        side = 1.0 if in_row or i % 2 else -1.0
        parts.append(box((wide * 0.7, 0.012, 0.02), (side * wide * 1.15, y + 0.2 * (level - top), level)))
    return parts


def _guitar_outline(dice: Dice, width: float, tall: float, make: str) -> Floats:
    x = width / 2
    upper, waist = x * dice.between(0.66, 0.85), x * dice.between(0.52, 0.68)
    right = [(x * 0.55, 0.01), (x * 0.95, 0.14), (x, 0.3), (x * 0.85, 0.45), (waist, 0.6), (upper * 0.95, 0.75),
             (upper * 0.9, 0.92), (upper * 0.4, 1.0)]  # fmt: skip
    if make == "acoustic":
        outline = symmetric([(a, b * tall) for a, b in right])
        if dice.chance(0.3):  # a cutaway
            outline[5:8] = [(upper * 0.9, 0.7 * tall), (upper * 0.55, 0.8 * tall), (upper * 0.25, 0.9 * tall)]
        return smooth_outline(outline, 3)
    if make == "horns":
        left_horn, right_horn = dice.between(1.0, 1.25), dice.between(0.85, 1.1)
        points = [(0.3 * x, 0), (0.95 * x, 0.08), (x, 0.3), (waist, 0.55), (0.85 * x, 0.75), (0.75 * x, right_horn),
                  (0.4 * x, 0.82), (0, 0.78), (-0.4 * x, 0.82), (-0.8 * x, left_horn), (-0.95 * x, 0.75),
                  (-waist, 0.52), (-x, 0.25), (-0.9 * x, 0.05), (-0.3 * x, 0)]  # fmt: skip
        return smooth_outline([(a, b * tall) for a, b in points], 2)
    if make == "single":
        points = [(0.4 * x, 0), (x, 0.15), (0.95 * x, 0.35), (waist, 0.55), (0.7 * x, 0.72), (0.75 * x, 0.92),
                  (0.35 * x, 0.78), (0.1 * x, 0.95), (-0.4 * x, 1.0), (-0.85 * x, 0.9), (-0.8 * x, 0.7),
                  (-waist, 0.55), (-0.95 * x, 0.35), (-x, 0.15), (-0.4 * x, 0)]  # fmt: skip
        return smooth_outline([(a, b * tall) for a, b in points], 2)
    # A flying V.
    return symmetric([(0.0, 0.3 * tall), (0.75 * x, -0.1 * tall), (1.1 * x, 0.0), (0.25 * x, 0.95 * tall)])


def _arched(outline: Floats, front: float, arch: float) -> list[Part]:
    """Top and back of a body between y = ``front`` and ``-front``, swelling by ``arch`` towards the middle."""
    middle = np.array([0.0, (outline[:, 1].min() + outline[:, 1].max()) / 2])
    belly = np.empty((4, len(outline), 3))
    for i, (scale, out) in enumerate([(1.0, 0.0), (0.85, 0.6), (0.5, 0.95), (0.05, 1.0)]):
        ring = middle + (outline - middle) * scale
        belly[i] = np.stack([ring[:, 0], np.full(len(ring), front - arch * out), ring[:, 1]], axis=1)
    top = loft(belly, capped=False)
    return [top, top.mirrored("y")]


def guitar(dice: Dice) -> list[Part]:
    """A guitar: acoustic with a round hole, or electric with horns, pickups and four to six strings."""
    make = dice.pick("acoustic", "acoustic", "acoustic", "horns", "horns", "single", "vee")
    acoustic = make == "acoustic"
    tall, width = dice.between(0.42, 0.52), dice.between(0.34, 0.42)
    if not acoustic:
        tall, width = tall * 0.88, width * 0.88
    deep = dice.between(0.08, 0.12) if acoustic else dice.between(0.035, 0.05)
    front = -deep / 2
    outline = _guitar_outline(dice, width, tall, make)
    parts = [front_prism(outline, front, deep / 2)]
    if acoustic and dice.chance(0.35):  # an archtop, built as a violin is
        arch = dice.between(0.01, 0.03)
        parts += _arched(outline, front, arch)
        front -= arch
    wide = dice.between(0.045, 0.055)
    top = tall + (dice.between(0.2, 0.3) if acoustic and dice.chance(0.25) else dice.between(0.32, 0.5))
    parts += _neck(tall * (0.72 if acoustic else 0.62), top, front, wide, 0.04)
    pegs = dice.pick(6, 6, 4)
    parts += _head(dice, top, front, wide, pegs)
    if acoustic:
        parts.append(_face_cylinder(width * dice.between(0.11, 0.15), 0.004, 0, tall * 0.62, front, 20))
        parts.append(box((width * 0.4, 0.02, 0.03), (0, front - 0.01, tall * 0.28)))
    else:
        for level in (0.25, 0.42, 0.56)[: dice.whole(1, 3)]:
            parts.append(box((wide * 1.6, 0.015, 0.035), (0, front - 0.007, tall * level)))
        knobs = [(0.55, 0.15), (0.7, 0.25), (0.5, 0.3)][: dice.whole(1, 3)]
        parts += [_face_cylinder(0.013, 0.015, a * width / 2, b * tall, front, 10) for a, b in knobs]
        parts.append(box((wide * 1.5, 0.02, 0.025), (0, front - 0.01, tall * 0.14)))
    if dice.chance(0.6):
        spread = np.linspace(-0.4, 0.4, pegs).tolist()
        parts += [
            bar((s * wide * 1.3, front - 0.022, tall * 0.2), (s * wide, front - 0.018, top), 0.0025)
            for s in spread
        ]
    if dice.chance(0.12):  # on a stand
        parts += [*with_mirror([bar((0.02, deep, 0.25), (0.16, 0.12, -0.08), 0.02)]),
                  bar((0, deep, 0.3), (0, 0.3, -0.08), 0.02),
                  bar((-0.16, -0.02, 0), (0.16, -0.02, 0), 0.02)]  # fmt: skip
    return parts


def violin(dice: Dice) -> list[Part]:
    """A violin, viola or cello: an arched body with pinched waist, a bridge and a scroll."""
    size = 0.36
    x, tall = size * dice.between(0.27, 0.31), size
    waist, upper = x * dice.between(0.5, 0.62), x * dice.between(0.78, 0.88)
    lower = smooth([(x * 0.3, 0.0), (x * 0.8, 0.05), (x, 0.2), (x * 0.86, 0.33), (x * 0.92, 0.37)], 3)
    bite = smooth([(x * 0.92, 0.37), (waist, 0.45), (waist * 0.98, 0.54), (upper * 0.95, 0.62)], 3)
    bout = smooth(
        [(upper * 0.95, 0.62), (upper * 0.9, 0.66), (upper, 0.8), (upper * 0.75, 0.96), (x * 0.18, 1.0)], 3
    )
    # The corners of the bouts stay sharp.
    outline = symmetric(np.concatenate([lower, bite[1:], bout[1:]]) * np.array([1.0, tall]))
    rib, arch = dice.between(0.03, 0.05), dice.between(0.012, 0.025)
    parts = [front_prism(outline, -rib / 2, rib / 2)]
    parts += _arched(outline, -rib / 2, arch)
    top, face = tall + dice.between(0.13, 0.17), -rib / 2
    parts += _neck(tall * 0.97, top, face - 0.006, 0.026, 0.026)
    wedge = box((0.04, 0.01, top - tall * 0.62), (0, face - 0.028, (top + tall * 0.62) / 2), (0.6, 1.0))
    bridge = box((0.045, 0.005, 0.04), (0, face - arch - 0.018, tall * 0.44)).turned("x", 0.0)
    tail = box((0.025, 0.008, tall * 0.28), (0, face - arch - 0.012, tall * 0.2), (1.7, 1.0))
    parts += [wedge, bridge, tail]
    curl = np.linspace(0, dice.between(5.0, 8.5), 18)
    shrink = 1 - 0.08 * curl
    coil = np.stack(
        [0 * curl, face + 0.012 - 0.03 * np.sin(curl) * shrink, top + 0.11 - 0.03 * np.cos(curl) * shrink],
        axis=1,
    )
    parts.append(tube([(0, face + 0.005, top), (0, face + 0.02, top + 0.09)], [0.013, 0.011], 4))
    parts.append(tube(coil, 0.009, 6))
    parts += [
        box((0.045, 0.006, 0.012), (s * 0.022, face + 0.01, top + 0.02 + 0.018 * i))
        for i, s in enumerate((1, -1, 1, -1))
    ]
    if dice.chance(0.6):
        parts.append(_face_cylinder(0.03, 0.02, -x * 0.45, tall * 0.08, face - arch * 0.5, 12))
    if dice.chance(0.6):
        spread = np.linspace(-0.011, 0.011, 4).tolist()
        parts += [tube(smooth([(s * 1.2, face - 0.03, tall * 0.34), (s * 1.3, face - arch - 0.04, tall * 0.44),
                               (s, face - 0.035, top)], 2), 0.0012, 4) for s in spread]  # fmt: skip
    if dice.chance(0.35):  # a cello's spike
        parts.append(tube([(0, 0, 0.0), (0, 0, -0.12)], 0.005, 6))
    if dice.chance(0.3):
        lean = dice.pick(-1.0, 1.0) * 0.05
        parts.append(tube([(x * 1.3, 0, 0), (x * 1.3 + lean, 0, tall * 1.5)], 0.005, 6))
        parts.append(box((0.008, 0.012, tall * 1.4), (x * 1.3 + 0.02 + lean / 2, 0, tall * 0.75)))
    return parts
