from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare, kstest

from batchot.shapes import Mesh, ShapeError, farthest_points, sample_surface
from oracles.shape_files import BOX, TRIANGLES

# Rows of triangles of areas 1, 2, 3 and 4 apart from each other, with one of no area between them.
HEIGHTS = np.array([2.0, 4.0, 0.0, 6.0, 8.0])
STRIP = Mesh(
    np.concatenate([[[3 * i, 0, 0], [3 * i + 1, 0, 0], [3 * i, h, 0]] for i, h in enumerate(HEIGHTS)]),
    np.arange(15).reshape(5, 3),
)


def test_triangles_by_area() -> None:
    cloud = sample_surface(STRIP, 20_000, seed=0)
    counts = np.bincount((cloud.points[:, 0] // 3).astype(int), minlength=5)
    assert counts[2] == 0
    assert chisquare(counts[[0, 1, 3, 4]], 20_000 * np.array([1, 2, 3, 4]) / 10).pvalue > 0.01


def test_uniform_within_a_triangle() -> None:
    cloud = sample_surface(Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.array([[0, 1, 2]])), 5_000, seed=1)
    x, y, z = cloud.points.T
    assert (x >= 0).all() and (y >= 0).all() and (x + y <= 1 + 1e-12).all() and not z.any()
    # The share of the triangle in which a coordinate is below t is 1 - (1 - t)^2; the third one is 1 - x - y.
    for coordinate in (x, y, 1 - x - y):
        assert kstest(coordinate, lambda t: 1 - (1 - t) ** 2).pvalue > 0.01


def test_normals_are_those_of_the_sides() -> None:
    cloud = sample_surface(Mesh(BOX, TRIANGLES), 1_000, seed=2)
    assert cloud.normals is not None
    assert np.allclose(np.abs(cloud.normals).sum(axis=1), 1)
    axis = np.abs(cloud.normals).argmax(axis=1)
    along = np.take_along_axis(cloud.points / BOX.max(axis=0), axis[:, None], axis=1)[:, 0]
    sign = np.take_along_axis(cloud.normals, axis[:, None], axis=1)[:, 0]
    assert np.allclose(along, (sign > 0).astype(float))  # the box faces outwards


def test_seed() -> None:
    mesh = Mesh(BOX, TRIANGLES)
    first, again, other = (sample_surface(mesh, 100, seed).points for seed in (7, 7, 8))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    # Written down, because a data set of sampled points must be the same for everybody.
    assert np.allclose(first[0], (0.18529191005827217, 0, 2.9503108511776026), atol=1e-12)


def test_any_scale() -> None:
    for scale in (1e-200, 1e200):
        cloud = sample_surface(Mesh(BOX * scale, TRIANGLES), 10, seed=7)
        assert np.allclose(cloud.points / scale, sample_surface(Mesh(BOX, TRIANGLES), 10, seed=7).points)


def test_wrong_arguments() -> None:
    with pytest.raises(ShapeError, match="at least 1"):
        sample_surface(STRIP, 0, seed=0)
    with pytest.raises(ShapeError, match="no area"):
        sample_surface(Mesh([[0, 0, 0], [1, 1, 1]], np.array([[0, 1, 0]])), 1, seed=0)


def naive(points: NDArray[np.float64], k: int, start: int) -> list[int]:
    chosen = [start]
    while len(chosen) < k:
        distances = [
            -1.0 if i in chosen else min(float(((p - points[j]) ** 2).sum()) for j in chosen)
            for i, p in enumerate(points)
        ]
        chosen.append(int(np.argmax(distances)))
    return chosen


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_farthest_points_are_those_of_a_naive_loop(seed: int, many_ties: bool) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 30))
    points = generator.integers(0, 3, (n, 3)) if many_ties else generator.normal(size=(n, 3))
    k, start = int(generator.integers(1, n + 1)), int(generator.integers(n))
    found = farthest_points(points, k, start)
    assert found.dtype == np.int64 and found.tolist() == naive(points.astype(float), k, start)


def test_points_that_coincide_are_chosen_once_each() -> None:
    assert sorted(farthest_points(np.zeros((5, 3)), 5).tolist()) == [0, 1, 2, 3, 4]


def test_farthest_points_is_fast() -> None:
    points = np.random.default_rng(0).normal(size=(10_000, 3)).astype(np.float32)
    farthest_points(points, 2)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        farthest_points(points, 1024)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.1


@pytest.mark.parametrize(("k", "start"), [(0, 0), (6, 0), (2, 5), (2, -1)])
def test_farthest_points_wrong_arguments(k: int, start: int) -> None:
    with pytest.raises(ShapeError, match="must be"):
        farthest_points(np.eye(5, 3), k, start)
    with pytest.raises(ShapeError, match="not finite"):
        farthest_points([[np.nan, 0, 0]], 1)
