"""Fitted views show the shape in the middle, as large as the margin allows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.shapes.render.cameras import LEAST_HALF, cameras_from_eyes, framed, make_cameras
from batchot.shapes.render.cloud import KEPT, ball_radius
from batchot.shapes.render.render import CHANNELS, render_views
from batchot.shapes.shape import Mesh, PointCloud
from batchot.shapes.views.settings import ViewSettings, render_shape
from oracles.solids import cube, revolved, soup

SIZE = 64
ROD = revolved(np.array([0.05, 0.05]), np.array([-0.9, 0.3]), 16)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.45))
def test_the_box_of_what_is_seen_is_centred_and_fills_the_room(seed: int, fit: float) -> None:
    cameras = make_cameras("drawing-12")
    points = np.random.default_rng(seed).normal(size=(20, 3))
    for view, rotation in enumerate(cameras.rotations):
        moved, extent = framed(points, rotation, cameras, fit)
        place = replace(cameras, extent=extent).project(moved, 1)[view, :, :2]
        low, high = place.min(0), place.max(0)
        np.testing.assert_allclose((low + high) / 2, 0.5, atol=1e-9)
        assert (high - low).max() == pytest.approx(1 - 2 * fit)
        np.testing.assert_allclose((moved - points) @ rotation[2], 0.0, atol=1e-12)  # no depth changes


@pytest.mark.parametrize("shape", [ROD, cube(0.2), soup(20, 3)])
@pytest.mark.parametrize("fit", [0.0, 0.05, 0.25])
def test_silhouettes_reach_the_margin(shape: Mesh, fit: float) -> None:
    # Of a sharp tip the last bit lies between two samples, the less the more samples there are.
    views = render_views(shape, "drawing-12", size=SIZE, channels=("silhouette",), antialias=16, fit=fit)[
        :, 0
    ]
    for view in views:
        rows, columns = np.flatnonzero((view > 0).any(1)), np.flatnonzero((view > 0).any(0))
        sides = (rows[0], SIZE - 1 - rows[-1], columns[0], SIZE - 1 - columns[-1])
        assert min(sides) == pytest.approx(fit * SIZE, abs=1.5)
        assert abs(sides[0] - sides[1]) <= 1 and abs(sides[2] - sides[3]) <= 1


def test_size_and_place_of_the_shape_no_longer_matter() -> None:
    small = Mesh(ROD.vertices * 0.25, ROD.faces)
    channels = ("silhouette", "lines", "contours", "outline")
    views = [render_views(mesh, "box-6", size=SIZE, channels=channels, fit=0.05) for mesh in (ROD, small)]
    assert np.array_equal(*views)
    moved = Mesh(ROD.vertices + np.array([0.0, 0.0, 0.25]), ROD.faces)
    again = render_views(moved, "box-6", size=SIZE, channels=channels, fit=0.05)
    assert np.abs(again.astype(int) - views[0]).mean() < 1.0  # rounding of corners only


def test_clouds_are_fitted_too() -> None:
    random = np.random.default_rng(0)
    ball = random.normal(size=(2000, 3))
    ball *= 0.3 / np.linalg.norm(ball, axis=1, keepdims=True)
    near, far = (
        render_views(PointCloud(ball + offset), "box-6", size=SIZE, channels=("silhouette",), fit=0.1)
        for offset in (0.0, np.array([0.3, 0.2, -0.4]))
    )
    # Points are drawn as a surface that stays outside them by a part of the distance between them.
    radius = 1 + KEPT * ball_radius(ball) / 0.3
    np.testing.assert_allclose(near.mean((1, 2, 3)) / 255, math.pi / 4 * (0.8 * radius) ** 2, rtol=0.03)
    assert (near != far).mean() < 0.02


def test_a_needle_seen_from_its_tip_stays_small() -> None:
    needle = Mesh([[0.9, 0, 0], [-0.9, 1e-4, 0], [-0.9, 0, 1e-4]], [[0, 1, 2]])
    _, extent = framed(needle.vertices, make_cameras("box-6").rotations[0], make_cameras("box-6"), 0.0)
    assert extent == LEAST_HALF
    views = render_views(needle, "box-6", size=SIZE, channels=("silhouette",), fit=0.0)[:, 0]
    assert (views[0] > 0).sum() <= 4


def test_without_it_nothing_changes() -> None:
    plain = ViewSettings(cameras="box-6", size=40, channels=CHANNELS)
    assert "fit" not in plain.description  # or every view in a cache would be rendered again
    fitted = replace(plain, fit=0.05)
    assert fitted.digest != plain.digest != replace(plain, fit=0.1).digest
    assert fitted.digest != replace(plain, fit=0.1).digest
    assert not np.array_equal(render_shape(cube(0.3), plain), render_shape(cube(0.3), fitted))


@pytest.mark.parametrize("fit", [-0.1, 0.5, math.nan])
def test_margins_without_room(fit: float) -> None:
    with pytest.raises(ValueError, match="fit"):
        ViewSettings(cameras="box-6", fit=fit)
    with pytest.raises(ValueError, match="fit"):
        render_views(cube(), "box-6", size=8, fit=fit)


def test_cameras_with_perspective_are_refused() -> None:
    near = cameras_from_eyes([[1, 0, 0]], name="near", distance=4.0)
    with pytest.raises(ValueError, match="orthographic cameras can be fitted, but 'near' are at 4"):
        ViewSettings(cameras=near, fit=0.1)
