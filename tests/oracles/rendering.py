"""Rays against triangles, one by one: what a camera sees, without a z-buffer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from batchot.shapes.render.cameras import Cameras
from batchot.shapes.shape import Mesh


def cast_rays(
    mesh: Mesh, cameras: Cameras, view: int, size: int, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest face, -1 if there is none, and its depth q.z at every pixel centre moved by shift pixels."""
    R = cameras.rotations[view]
    columns, rows = np.meshgrid(np.arange(size) + 0.5 + shift[0], np.arange(size) + 0.5 + shift[1])
    u = (2 * columns / size - 1) * cameras.extent
    v = (1 - 2 * rows / size) * cameras.extent
    on_plane = u[..., None] * R[0] + v[..., None] * R[1]  # (size, size, 3)
    if math.isinf(cameras.distance):
        start, way = on_plane + 10 * R[2], np.broadcast_to(-R[2], on_plane.shape)
    else:
        start = np.broadcast_to(cameras.distance * R[2], on_plane.shape)
        way = on_plane - start
    face = np.full((size, size), -1)
    depth = np.full((size, size), -math.inf)
    for f, (a, b, c) in enumerate(mesh.vertices[mesh.faces]):
        # start + t · way = a + β (b - a) + γ (c - a), by Cramer's rule
        determinant = np.linalg.det(
            np.stack([np.broadcast_to(b - a, way.shape), np.broadcast_to(c - a, way.shape), -way], -1)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            right = start - a
            beta = np.linalg.det(np.stack([right, np.broadcast_to(c - a, way.shape), -way], -1)) / determinant
            gamma = (
                np.linalg.det(np.stack([np.broadcast_to(b - a, way.shape), right, -way], -1)) / determinant
            )
            t = (
                np.linalg.det(
                    np.stack(
                        [np.broadcast_to(b - a, way.shape), np.broadcast_to(c - a, way.shape), right], -1
                    )
                )
                / determinant
            )
            hit = (beta >= 0) & (gamma >= 0) & (beta + gamma <= 1) & (t > 0)
            z = (start + t[..., None] * way) @ R[2]
        nearer = hit & (z > depth)
        face[nearer], depth[nearer] = f, z[nearer]
    return face, depth


def clear_pixels(mesh: Mesh, cameras: Cameras, view: int, size: int) -> NDArray[np.bool_]:
    """Pixels at whose centre, and a fiftieth of a pixel to all sides of it, the same face is seen."""
    face, _ = cast_rays(mesh, cameras, view, size)
    clear = np.ones((size, size), bool)
    for shift in ((0.02, 0.0), (-0.02, 0.0), (0.0, 0.02), (0.0, -0.02)):
        clear &= cast_rays(mesh, cameras, view, size, shift)[0] == face
    return clear


def grey_of(mesh: Mesh, face: NDArray[np.int64], back: NDArray[np.float64]) -> NDArray[np.float64]:
    """35 + 185 \\|n · back\\| of faces."""
    a, b, c = mesh.vertices[mesh.faces[face]].transpose(1, 0, 2)
    n = np.cross(b - a, c - a)
    return 35 + 185 * np.abs(n @ back) / np.linalg.norm(n, axis=1)
