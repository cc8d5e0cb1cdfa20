from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.shapes import Mesh, PointCloud, ShapeError, normalize_shape
from batchot.shapes.normalize import face_normals
from oracles.shape_files import BOX, TRIANGLES


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e-5, 1e300, 5e307])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_centre_size_and_nothing_else(scale: float, offset: float) -> None:
    expected = (BOX - (0.5, 1, 1.5)) / np.sqrt(0.25 + 1 + 2.25)
    mesh = normalize_shape(Mesh((BOX / 10 + offset) * scale, TRIANGLES))
    assert isinstance(mesh, Mesh) and np.array_equal(mesh.faces, TRIANGLES)
    assert np.allclose(mesh.vertices, expected, atol=1e-12)
    cloud = normalize_shape(PointCloud((BOX / 10 + offset) * scale))
    assert isinstance(cloud, PointCloud) and np.allclose(cloud.points, expected, atol=1e-12)


def test_limits_of_float64_on_both_sides() -> None:
    cloud = normalize_shape(PointCloud([[-1.7e308, 0, 0], [1.7e308, 0, 0]]))
    assert isinstance(cloud, PointCloud) and cloud.points.tolist() == [[-1, 0, 0], [1, 0, 0]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-6, 6), st.floats(-1e6, 1e6))
def test_properties(seed: int, exponent: float, offset: float) -> None:
    points = np.random.default_rng(seed).normal(size=(20, 3)) * 10**exponent + offset * 10**exponent / 1e3
    cloud = normalize_shape(PointCloud(points))
    assert isinstance(cloud, PointCloud)
    assert np.linalg.norm(cloud.points, axis=1).max() == pytest.approx(1, abs=1e-12)
    assert np.allclose(cloud.points.min(axis=0), -cloud.points.max(axis=0), atol=1e-9)
    again = normalize_shape(cloud)
    assert isinstance(again, PointCloud) and np.allclose(again.points, cloud.points, atol=1e-12)


def test_vertices_that_no_face_names_do_not_count() -> None:
    far = np.concatenate([[[1e6, 0, 0]], BOX, [[0, -1e6, 0]]])
    mesh, expected = normalize_shape(Mesh(far, TRIANGLES + 1)), normalize_shape(Mesh(BOX, TRIANGLES))
    assert isinstance(mesh, Mesh) and isinstance(expected, Mesh)
    assert np.array_equal(mesh.vertices, expected.vertices) and np.array_equal(mesh.faces, expected.faces)


def test_y_up_is_a_rotation_to_z_up() -> None:
    upright = normalize_shape(PointCloud([[0, 0, 0], [0, 2, 0]], [[0, 1, 0], [1, 0, 0]]), up="y")
    assert isinstance(upright, PointCloud) and upright.normals is not None
    assert upright.points.tolist() == [[0, 0, -1], [0, 0, 1]]
    assert upright.normals.tolist() == [[0, 0, 1], [1, 0, 0]]
    mesh = normalize_shape(Mesh(BOX, TRIANGLES), up="y")
    assert isinstance(mesh, Mesh)
    before, after = (face_normals(m.vertices, m.faces) for m in (Mesh(BOX, TRIANGLES), mesh))
    cosine = (before[:, [0, 2, 1]] * (1, -1, 1) * after).sum(axis=1)
    assert (cosine > 0).all()  # turned, not mirrored: what faced outwards still does


def test_input_is_left_alone() -> None:
    vertices = BOX.copy()
    normalize_shape(Mesh(vertices, TRIANGLES), up="y")
    assert np.array_equal(vertices, BOX)


def test_no_shape() -> None:
    with pytest.raises(ShapeError, match="all 4 points are the same"):
        normalize_shape(PointCloud(np.full((4, 3), 1e6)))
    with pytest.raises(ShapeError, match="all 2 points are the same"):
        normalize_shape(PointCloud([[1, 0, 0], [np.nextafter(1, 2), 0, 0]]))
    with pytest.raises(ShapeError, match="no area"):
        normalize_shape(Mesh([[0, 0, 0], [1, 0.1, 0.3], [3, 0.3, 0.9]], np.array([[0, 1, 2]])))
