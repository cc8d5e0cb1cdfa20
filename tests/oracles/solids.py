"""Meshes that are known exactly."""

from __future__ import annotations

import numpy as np

from batchot.shapes.shape import Mesh


def cube(half: float = 0.5) -> Mesh:
    """Twelve triangles around the origin."""
    corners = np.array([(x, y, z) for x in (-half, half) for y in (-half, half) for z in (-half, half)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return Mesh(corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))


def sphere(bands: int = 48, radius: float = 1.0) -> Mesh:
    """Bands of latitude, twice as many of longitude, all corners on the sphere."""
    return revolved(
        radius * np.sin(np.linspace(0, np.pi, bands + 1)),
        radius * np.cos(np.linspace(0, np.pi, bands + 1)),
        2 * bands,
    )


def revolved(radii: np.ndarray, heights: np.ndarray, sides: int) -> Mesh:
    """A profile turned around z."""
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vertices = np.concatenate(
        [np.column_stack([r * ring, np.full(sides, h)]) for r, h in zip(radii, heights, strict=True)]
    )
    faces = []
    for i in range(len(radii) - 1):
        for j in range(sides):
            a, b = i * sides + j, i * sides + (j + 1) % sides
            faces += [(a, b, a + sides), (b, b + sides, a + sides)]
    return Mesh(vertices, np.array(faces))


def soup(n: int, seed: int, *, spread: float = 0.35) -> Mesh:
    """Triangles anywhere in the unit sphere, through each other."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-0.5, 0.5, (n, 1, 3))
    corners = middle + rng.uniform(-spread, spread, (n, 3, 3))
    return Mesh(corners.reshape(-1, 3) / 1.5, np.arange(3 * n).reshape(n, 3))
