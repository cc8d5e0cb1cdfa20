from __future__ import annotations

import math

import numpy as np
import pytest

from batchot.shapes.library.part import Part, join, with_mirror
from batchot.shapes.library.solids import (
    bar,
    block,
    box,
    cushion,
    cylinder,
    front_prism,
    lathe,
    prism,
    rectangle,
    side_prism,
    superellipse,
    symmetric,
    tube,
)


def volume(part: Part) -> float:
    """By the divergence theorem: positive where faces look outwards."""
    a, b, c = (part.vertices[column] for column in part.faces.T)
    return float((np.cross(a, b) * c).sum() / 6)


def is_closed(part: Part) -> bool:
    """Every edge, corners taken by place, is walked as often one way as the other."""
    places, index = np.unique(np.round(part.vertices, 9), axis=0, return_inverse=True)
    faces = index.reshape(-1)[part.faces]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    key = len(places)
    return bool(
        np.array_equal(np.sort(edges[:, 0] * key + edges[:, 1]), np.sort(edges[:, 1] * key + edges[:, 0]))
    )


ARROW = symmetric([(0.0, 0.3), (1.0, 0.0), (0.0, 2.0)])  # area 1.7, not convex

SOLIDS = {
    "box": (box((1, 2, 3), (4, 5, 6)), 6.0),
    "block": (block((1, 1, 1), (0, 2, 3)), 2.0),
    "tapered box": (box((1, 1, 3), top=(0.5, 0.5)), 1.75),
    "prism": (prism(ARROW, 1.0, 3.0), 3.4),
    "side prism": (side_prism(ARROW, -1.0, 1.0), 3.4),
    "front prism": (front_prism(ARROW, -1.0, 1.0), 3.4),
    "cylinder": (cylinder(1.0, 0.0, 2.0, sides=400), 2 * math.pi),
    "cone": (lathe([(0, 0), (1, 0), (0, 3)], 400), math.pi),
    "square bottle": (lathe([(0, 0), (1, 0), (1, 2), (0, 2)], ring=rectangle(2, 2)), 8.0),
    "pipe": (lathe([(1, 0), (2, 0), (2, 1), (1, 1), (1, 0)], 400), 3 * math.pi),
    "square bar": (bar((0, 0, 0), (0, 3, 0), 0.5), 0.75),
    "leaning bar": (bar((0, 0, 0), (1, 2, 2), 0.5), 0.75),
    "rod": (tube([(0, 0, 0), (0, 0, 2)], 0.5, 400), math.pi / 2),
    "egg": (cushion((2, 2, 2), (1, 1, 1), 2.0, 200, 100), 4 / 3 * math.pi),
    "mirrored": (box((1, 2, 3), (4, 5, 6), (0.5, 1.0)).mirrored("y"), 4.5),
    "turned": (box((1, 2, 3), (4, 5, 6)).turned("x", 0.7, (1, 1, 1)).scaled(2, 1, 1), 12.0),
    "twisted": (lathe([(0, 0), (1, 0), (1, 1), (0, 1)], ring=superellipse(2, 2, 4.0, 40), twist=0.4), None),
    "bent": (tube([(0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 1, 2)], [0.1, 0.2, 0.2, 0.1]), None),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_look_outwards(name: str) -> None:
    part, expected = SOLIDS[name]
    assert is_closed(part)
    assert volume(part) > 0
    if expected is not None:
        assert volume(part) == pytest.approx(expected, rel=2e-3)


def test_tube_without_direction_of_its_own_keeps_square_sides_upright() -> None:
    assert np.ptp(bar((0, 0, 0), (2, 0, 0), 0.5).vertices, axis=0) == pytest.approx([2, 0.5, 0.5])
    assert np.ptp(bar((0, 0, 0), (0, 0, 2), 0.5).vertices, axis=0) == pytest.approx([0.5, 0.5, 2])


def test_turning_is_right_handed() -> None:
    part = Part(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([[0, 1, 2]]))
    assert part.turned("z", math.pi / 2).vertices[0] == pytest.approx([0, 1, 0])
    assert part.turned("x", math.pi / 2).vertices[1] == pytest.approx([0, 0, 1])
    assert part.turned("y", math.pi / 2).vertices[2] == pytest.approx([1, 0, 0])


def test_join_numbers_the_corners_on() -> None:
    pair = with_mirror([box((1, 1, 1), (2, 0, 0))])
    whole = join(pair)
    assert volume(whole) == pytest.approx(2.0)
    assert whole.faces.max() == 15
