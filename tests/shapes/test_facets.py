from __future__ import annotations

import numpy as np

from batchot.shapes.render.mesh import facets
from batchot.shapes.shape import Mesh
from oracles.solids import soup


def test_corners_in_any_order_give_the_same_bits() -> None:
    mesh = soup(40, 3)
    one = facets(mesh)
    for order in ([1, 2, 0], [2, 1, 0], [0, 2, 1]):
        other = facets(Mesh(mesh.vertices, mesh.faces[:, order]))
        assert one.normals.tobytes() == other.normals.tobytes()
        assert one.offsets.tobytes() == other.offsets.tobytes()


def test_normals_are_those_of_the_planes() -> None:
    mesh = soup(40, 4)
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    n = np.cross(b - a, c - a)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    found = facets(mesh)
    np.testing.assert_allclose(np.abs(np.einsum("ij,ji->i", n, found.normals)), 1.0)
    np.testing.assert_allclose(found.offsets, np.einsum("ji,ij->i", found.normals, b), atol=1e-12)


def test_faces_without_area_have_no_normal() -> None:
    vertices = [
        [0, 0, 0],
        [1, 0, 0],
        [3, 0, 0],
        [0.1, 0.2, 0.3],
        [0.2, 0.4, 0.6],
        [0.3, 0.6, 0.9],
        [0, 1e-3, 0],
    ]
    normals = facets(Mesh(vertices, [[0, 1, 2], [0, 0, 1], [2, 2, 2], [3, 4, 5], [0, 1, 6]])).normals
    np.testing.assert_array_equal(np.abs(normals).sum(axis=0), [0, 0, 0, 0, 1])


def test_size_does_not_matter() -> None:
    mesh = soup(10, 5)
    for scale in (1e-120, 1e120):
        np.testing.assert_allclose(
            facets(Mesh(scale * mesh.vertices, mesh.faces)).normals, facets(mesh).normals, atol=1e-12
        )


def test_vertices_that_no_face_uses_are_left_out() -> None:
    mesh = soup(5, 6)
    stray = Mesh(np.concatenate([[[1e6, 0, 0]], mesh.vertices, [[0, 9, 9]]]), mesh.faces + 1)
    np.testing.assert_array_equal(facets(stray).vertices, mesh.vertices)
    np.testing.assert_array_equal(facets(stray).ordered, facets(mesh).ordered)
