from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from batchot.shapes.render.cameras import (
    CAMERA_SETS,
    Cameras,
    cameras_from_eyes,
    fitting_extent,
    make_cameras,
)


@pytest.mark.parametrize("name", CAMERA_SETS)
def test_rotations_are_right_handed_and_upright(name: str) -> None:
    R = make_cameras(name).rotations
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), R.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(R), 1.0)
    R = R[:14] if name == "drawing-18" else R  # those after lie on purpose
    sideways = np.abs(R[:, 2, 2]) < 1 - 1e-9
    np.testing.assert_allclose(R[sideways, 0, 2], 0.0, atol=1e-14)  # right is level
    assert (R[sideways, 1, 2] > 0).all()  # up is up


def test_circle() -> None:
    cameras = make_cameras("circle-12")
    assert len(cameras) == 12
    np.testing.assert_allclose(cameras.eyes[:, 2], 0.5)  # sin 30
    azimuth = np.degrees(np.arctan2(cameras.eyes[:, 1], cameras.eyes[:, 0])) % 360
    np.testing.assert_allclose((azimuth + 1e-9) % 360, np.arange(12) * 30 + 1e-9, atol=1e-8)


def test_parts_are_drawn_as_they_stand_face_on_and_lying() -> None:
    cameras = make_cameras("drawing-18")
    assert len(cameras) == 18 and math.isinf(cameras.distance)
    np.testing.assert_array_equal(cameras.rotations[:12], make_cameras("drawing-12").rotations)
    np.testing.assert_array_equal(cameras.eyes[12:14], [[0, 0, 1], [0, 0, -1]])
    np.testing.assert_array_equal(cameras.eyes[14:], [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    top = cameras.project([[0.0, 0.0, 0.5]], size=100)[14:, 0]  # of something that stands along z
    np.testing.assert_allclose(top[:, 0], 25)  # half way to the left
    np.testing.assert_allclose(top[:, 1], 50)


def test_dodecahedron() -> None:
    eyes = make_cameras("dodecahedron-20").eyes
    assert len(eyes) == 20
    cosines = np.sort((eyes @ eyes.T).round(9), axis=1)
    # from a corner: one opposite, three at an edge's length, and so on; cosines are those of the regular solid
    a = math.sqrt(5) / 3
    expected = [-1.0] + [-a] * 3 + [-1 / 3] * 6 + [1 / 3] * 6 + [a] * 3 + [1.0]
    np.testing.assert_allclose(cosines, np.tile(np.array(expected).round(9), (20, 1)))
    cube = {tuple(np.array(s) / math.sqrt(3)) for s in itertools.product((1.0, -1.0), repeat=3)}
    for corner in cube:
        assert np.isclose(eyes @ corner, 1.0).any()


def test_box() -> None:
    cameras = make_cameras("box-6")
    assert math.isinf(cameras.distance) and cameras.extent == 1.0
    assert cameras.eyes.tolist() == [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    assert cameras.rotations[4].tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
    ]  # from above y is up, x is right


def test_from_where_people_draw() -> None:
    cameras = make_cameras("drawing-12")
    assert math.isinf(cameras.distance) and len(cameras) == 12
    azimuth = np.degrees(np.arctan2(cameras.eyes[:, 1], cameras.eyes[:, 0])) % 360
    np.testing.assert_allclose((azimuth + 1e-9) % 360, np.arange(12) * 30 + 1e-9, atol=1e-8)
    elevation = np.degrees(np.arcsin(cameras.eyes[:, 2]))
    np.testing.assert_allclose(elevation, [5, 20, 20] * 4)


def test_projection_of_known_points() -> None:
    cameras = cameras_from_eyes([[1, 0, 0]], distance=3.0, extent=1.5)
    points = [[0, 0, 0], [0, 1.5, 0], [0, 0, 1.5], [1, 0.5, 0], [-1, 0, -0.5]]
    # s = 3 / (3 - 1) at x = 1 and 3 / 4 at x = -1
    expected = [[50, 50, 0], [100, 50, 0], [50, 0, 0], [75, 50, 1], [50, 50 + 0.375 / 1.5 * 50, -1]]
    np.testing.assert_allclose(cameras.project(points, 100)[0], expected, atol=1e-12)


@pytest.mark.parametrize("distance", [1.5, 3.0, math.inf])
def test_unit_sphere_just_fits(distance: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    places = cameras_from_eyes([[0.3, -0.2, 0.9]], distance=distance).project(points, 1)[0]
    assert places[:, :2].min() >= 0 and places[:, :2].max() <= 1
    assert places[:, :2].max() > 0.999


def test_straight_down_is_as_from_a_little_south() -> None:
    cameras = cameras_from_eyes([[0, 0, 2], [0, -1e-3, 2]])
    np.testing.assert_allclose(cameras.rotations[0], cameras.rotations[1], atol=1e-3)


def test_bad_cameras() -> None:
    with pytest.raises(ValueError, match=r"'circle-13'; there are circle-12"):
        make_cameras("circle-13")
    with pytest.raises(ValueError, match=r"of some length"):
        cameras_from_eyes([[0, 0, 0]])
    with pytest.raises(ValueError, match=r"of some length"):
        cameras_from_eyes([[0, math.nan, 0]])
    with pytest.raises(ValueError, match=r"must be \(v, 3\), got \(0,\)"):
        cameras_from_eyes([])
    with pytest.raises(ValueError, match="larger than 1"):
        fitting_extent(1.0)
    with pytest.raises(ValueError, match="orthonormal"):
        Cameras("x", 2 * np.eye(3)[None], 3.0, 1.0)
    with pytest.raises(ValueError, match="orthonormal"):
        Cameras("x", np.diag([1.0, 1.0, -1.0])[None], 3.0, 1.0)
    with pytest.raises(ValueError, match="extent"):
        Cameras("x", np.eye(3)[None], 3.0, 0.0)
    with pytest.raises(ValueError, match="distance"):
        Cameras("x", np.eye(3)[None], -1.0, 1.0)
