from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.shapes.library.solids import (
    Floats,
    circle,
    corner_share,
    rectangle,
    smooth,
    smooth_outline,
    superellipse,
    symmetric,
    triangulate,
)


def area(outline: Floats) -> float:
    x, y = outline.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def triangle_areas(outline: Floats) -> Floats:
    a, b, c = (outline[column] for column in triangulate(outline).T)
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


@given(st.lists(st.floats(0.2, 2.0), min_size=3, max_size=25))
@settings(max_examples=60, deadline=None)
def test_triangles_fill_any_star_once(radii: list[float]) -> None:
    outline = circle(len(radii)) * np.array(radii)[:, None]
    areas = triangle_areas(outline)
    assert len(areas) == len(radii) - 2
    assert (areas > -1e-9).all()
    assert areas.sum() == pytest.approx(area(outline))


def test_triangles_fill_a_comb() -> None:
    outline = np.array(
        [(0, 0), (5, 0), (5, 3), (4, 3), (4, 1), (3, 1), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3.0)]
    )
    areas = triangle_areas(outline)
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(area(outline))


@pytest.mark.parametrize("outline", [circle(7), rectangle(2, 1), superellipse(2, 1, 5.0)])
def test_outlines_run_counter_clockwise(outline: Floats) -> None:
    assert area(outline) > 0


def test_superellipse_lies_between_ellipse_and_box() -> None:
    assert area(superellipse(2, 1, 2.0, 400)) == pytest.approx(math.pi / 2, rel=1e-3)
    assert math.pi / 2 < area(superellipse(2, 1, 6.0, 400)) < 2


def test_smooth_goes_through_its_points() -> None:
    points = np.array([(0, 0), (1, 2), (3, 1), (4, 4.0)])
    assert np.allclose(smooth(points, 5)[::5], points)
    assert np.allclose(smooth_outline(points, 5)[::5], points)
    assert len(smooth_outline(points, 5)) == 20


def test_symmetric_keeps_points_on_the_axis_once() -> None:
    outline = symmetric([(0.0, 0.0), (1.0, 0.5), (0.0, 1.0)])
    assert outline.tolist() == [[0, 0], [1, 0.5], [0, 1], [-1, 0.5]]


def test_corner_share() -> None:
    assert corner_share(rectangle(3, 1)) == pytest.approx(1)
    assert corner_share(superellipse(3, 1, 2.0, 200)) == pytest.approx(math.sqrt(0.5), rel=1e-3)
