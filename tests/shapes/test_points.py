from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from batchot.errors import ShapeError
from batchot.shapes.render.cameras import cameras_from_eyes, make_cameras
from batchot.shapes.render.cloud import ball_radius
from batchot.shapes.render.render import CHANNELS, render_views
from batchot.shapes.shape import PointCloud


def on_sphere(n: int, radius: float = 0.8, seed: int = 0) -> NDArray[np.float64]:
    points = np.random.default_rng(seed).normal(size=(n, 3))
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True)


def on_cube(n: int, half: float = 0.5, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-half, half, (n, 3))
    axis = rng.integers(0, 3, n)
    points[np.arange(n), axis] = np.sign(points[np.arange(n), axis]) * half
    return points


@pytest.mark.parametrize("n", [1024, 2048])
@pytest.mark.parametrize("name", ["circle-12", "box-6"])
def test_silhouettes_have_no_holes_and_the_right_size(n: int, name: str) -> None:
    cameras = make_cameras(name)
    size = 96
    silhouettes = render_views(PointCloud(on_sphere(n)), cameras, size=size, channels=("silhouette",))[:, 0]
    rim = 0.8 / math.sqrt(1 - 0.64 / cameras.distance**2) / cameras.extent * size / 2  # radius, pixels
    for picture in silhouettes:
        filled = ndimage.binary_fill_holes(picture > 0)
        np.testing.assert_array_equal(filled, picture > 0)
        assert 0.95 < picture.sum() / 255 / (math.pi * rim**2) < 1.1


def test_depth_and_shading_of_a_sphere() -> None:
    size = 96
    cameras = cameras_from_eyes([[0.2, -0.5, 0.4]], distance=math.inf)
    pictures = render_views(PointCloud(on_sphere(2048)), cameras, size=size, channels=("depth", "shaded"))[0]
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    off = np.hypot(rows - size / 2, columns - size / 2) / (size / 2)
    inner = off < 0.6
    z = np.sqrt(0.64 - off[inner] ** 2)
    error = (pictures[0][inner].astype(float) - 128) / 127 - z
    assert np.abs(error).max() < 0.06 and abs(error.mean()) < 0.02
    grey = 35 + 185 * z / 0.8
    assert np.abs(pictures[1][inner] - grey).mean() < 6


def test_given_normals_are_used_whatever_their_sign() -> None:
    points = on_sphere(600)
    rng = np.random.default_rng(1)
    lengths = rng.uniform(0.5, 2, (600, 1)) * rng.choice([-1, 1], (600, 1))
    a = render_views(PointCloud(points, points), "box-6", size=48)
    np.testing.assert_array_equal(a, render_views(PointCloud(points, points * lengths), "box-6", size=48))
    flat = render_views(PointCloud(points, np.tile([0.0, 0.0, 1.0], (600, 1))), "box-6", size=48)
    assert flat[4].min() == 220  # from above all points face the camera
    assert flat[0].min() == 35
    assert (a != flat).any()


def test_a_face_of_a_cube_is_flat() -> None:
    cameras = cameras_from_eyes([[1, 0, 1]], distance=math.inf)
    picture = render_views(PointCloud(on_cube(2048)), cameras, size=96, channels=("shaded",))[0, 0]
    middle_of_face = picture[14:30, 36:60]  # above, where only the face of +z is
    assert abs(middle_of_face.mean() - (35 + 185 * math.sqrt(0.5))) < 8


def test_a_hidden_part_is_hidden_and_a_front_one_outlined() -> None:
    x = np.linspace(-0.7, 0.7, 30)
    wall = np.stack([*np.meshgrid(x, x), np.full((30, 30), -0.4)], axis=-1).reshape(-1, 3)
    plate = np.stack([*np.meshgrid(x[10:20], x[10:20]), np.full((10, 10), 0.5)], axis=-1).reshape(-1, 3)
    cameras = cameras_from_eyes([[0, 0, 1]], distance=math.inf)
    depth, lines = render_views(
        PointCloud(np.concatenate([wall, plate])), cameras, size=96, channels=("depth", "lines")
    )[0]
    assert abs(int(depth[48, 48]) - (128 + 63)) <= 2 and abs(int(depth[48, 20]) - (128 - 51)) <= 2
    reach = np.maximum(*np.abs(np.mgrid[0:96, 0:96] + 0.5 - 48)) / 48
    ink = lines < 255
    assert ink[(reach > 0.15) & (reach < 0.35)].any() and not ink[reach < 0.15].any()
    assert not ink[(reach > 0.36) & (reach < 0.6)].any()


def test_order_of_points_and_doubles_do_not_matter_much() -> None:
    points = on_cube(700)
    a = render_views(PointCloud(points), size=48, channels=("silhouette", "depth"))
    b = render_views(PointCloud(points[::-1]), size=48, channels=("silhouette", "depth"))
    np.testing.assert_array_equal(a[:, 0], b[:, 0])  # sums of numbers in another order differ in the last bit
    assert np.abs(a.astype(int) - b).max() <= 1
    assert ball_radius(np.concatenate([points, points])) == ball_radius(points)


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_few_points_are_seen(n: int) -> None:
    views = render_views(PointCloud(on_sphere(n, 0.5)), size=64, channels=CHANNELS)
    assert (views[:, 2].reshape(12, -1).max(axis=1) > 0).all()
    assert ((views[:, 1] > 0) == (views[:, 2] > 0)).all()


def test_points_in_one_place_and_on_a_line() -> None:
    assert ball_radius(np.zeros((5, 3))) == 0
    render_views(PointCloud(np.zeros((5, 3))), size=16, channels=CHANNELS)
    line = np.linspace(-0.8, 0.8, 200)[:, None] * [1, 0.2, 0.1]
    views = render_views(PointCloud(line), size=64, channels=("silhouette",))
    assert (views.reshape(12, -1).max(axis=1) >= 128).all()


def test_points_out_of_the_picture_are_cut_off() -> None:
    points = on_sphere(500)
    cameras = cameras_from_eyes([[0, 0, 1]], distance=math.inf, extent=0.3)
    views = render_views(
        PointCloud(np.concatenate([points, points + np.array([5, 0, 0]), points - [0, 7, 0]])),
        cameras,
        size=32,
    )
    assert views.shape == (1, 1, 32, 32)
    with pytest.raises(ShapeError, match="behind camera 0"):
        render_views(PointCloud(4 * points), size=32)
    with pytest.raises(ShapeError, match="times as large"):
        render_views(PointCloud(1e9 * points), "box-6", size=32)
    with pytest.raises(ShapeError, match="times as large"):
        render_views(PointCloud([[1e308, 1e308, 1e308]]), "box-6", size=32)
