from __future__ import annotations

import numpy as np
import pytest

from batchot.shapes import Mesh, PointCloud, ShapeError

TRIANGLE = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_arrays_get_one_type() -> None:
    mesh = Mesh(np.array(TRIANGLE, dtype=np.float32)[::-1], np.array([[0, 1, 2]], dtype=np.uint16))
    assert mesh.vertices.dtype == np.float64 and mesh.vertices.flags.c_contiguous
    assert mesh.faces.dtype == np.int64
    cloud = PointCloud(TRIANGLE, np.ones((3, 3), dtype=np.float32))
    assert (
        cloud.points.dtype == np.float64 and cloud.normals is not None and cloud.normals.dtype == np.float64
    )


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (TRIANGLE, [[0, 1, 3]], "names vertex 3, there are 3"),
        (TRIANGLE, [[0, -1, 2]], "names vertex -1"),
        (TRIANGLE, np.empty((0, 3), dtype=int), "no faces"),
        (TRIANGLE, [[0.0, 1.0, 2.0]], "whole numbers"),
        (TRIANGLE, [[0, 1, 2, 0]], "split polygons"),
        (np.empty((0, 3)), [[0, 1, 2]], "no vertices"),
        ([[0, 0], [1, 0], [0, 1]], [[0, 1, 2]], r"\(n, 3\)"),
        ([[0, 0, np.nan], [1, 0, np.inf], [0, 1, 0]], [[0, 1, 2]], "2 of 3 vertices are not finite"),
        ([["a", 0, 0]], [[0, 0, 0]], "numbers"),
    ],
)
def test_wrong_mesh(vertices: object, faces: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Mesh(vertices, np.asarray(faces))  # type: ignore[arg-type]


def test_wrong_cloud() -> None:
    with pytest.raises(ShapeError, match="no points"):
        PointCloud(np.empty((0, 3)))
    with pytest.raises(ShapeError, match="3 points and 2 normals"):
        PointCloud(TRIANGLE, TRIANGLE[:2])  # type: ignore[arg-type]
