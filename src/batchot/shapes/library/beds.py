"""Beds: single, double, four-posters, bunks and day beds."""

from __future__ import annotations

import math

from batchot.shapes.library.dice import Dice
from batchot.shapes.library.part import Part, move_all, with_mirror
from batchot.shapes.library.seating import backrest
from batchot.shapes.library.solids import bar, box, cushion
from batchot.shapes.library.supports import Support, support


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
        pitch = width / count
        pillow = dice.between(0.1, 0.18)
        storey += [
            cushion(
                (pitch * 0.8, 0.4, pillow),
                (-width / 2 + pitch * (i + 0.5), y - 0.3, top + pillow * 0.35),
                3.0,
            )
            for i in range(count)
        ]
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
