"""What is worked out once for a mesh, before any camera looks at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.shapes.shape import Mesh


@dataclass(frozen=True, eq=False)
class Facets:
    """The triangles of a mesh in the form in which they are drawn.

    Attributes:
        vertices: those that a face uses, (n, 3).
        ordered: corners of the faces in the order of their coordinates, (m, 3) int32.
        normals: unit normals of either sign, zero for a face without an area, (3, m).
        offsets: normal · corner of each face, (m,).
    """

    vertices: NDArray[np.float64]
    ordered: NDArray[np.int32]
    normals: NDArray[np.float64]
    offsets: NDArray[np.float64]


def facets(mesh: Mesh) -> Facets:
    """The triangles of a mesh in the form in which they are drawn.

    Args:
        mesh: of any kind; faces without an area stay, with a normal of zero.

    Returns:
        Its vertices, corners, normals and offsets.

    Example:
        >>> facets(Mesh([[0, 0, 1], [1, 0, 1], [0, 1, 1]], [[2, 1, 0]])).normals[:, 0].tolist()
        [0.0, 0.0, -1.0]
    """
    vertices, ordered = sort_corners(*_used(mesh.vertices, mesh.faces))
    normals, offsets = face_normals(vertices, ordered)
    return Facets(vertices, ordered, normals, offsets)


@njit(cache=True, nogil=True)
def _used(vertices, faces):  # type: ignore[no-untyped-def]
    """Leave out vertices that no face uses, so that a stray point far away does not spoil the scale of depth."""
    place = np.full(vertices.shape[0], -1, np.int32)
    for f in range(faces.shape[0]):
        for k in range(3):
            place[faces[f, k]] = 0
    count = 0
    for i in range(place.size):
        if place[i] == 0:
            place[i] = count
            count += 1
    kept = np.empty((count, 3), np.float64)
    for i in range(place.size):
        if place[i] >= 0:
            for k in range(3):
                kept[place[i], k] = (
                    vertices[i, k] + 0.0
                )  # -0.0 becomes 0.0: equal numbers are then equal in bits
    corners = np.empty(faces.shape, np.int32)
    for f in range(faces.shape[0]):
        for k in range(3):
            corners[f, k] = place[faces[f, k]]
    return kept, corners


@njit(cache=True, nogil=True)
def sort_corners(vertices, corners):  # type: ignore[no-untyped-def]
    """Put the corners of every face in the order of their coordinates, in place.

    The arithmetic that follows then is the same for a face that is given with its corners in another order, and
    for two faces on one place, down to the last bit.
    """
    for f in range(corners.shape[0]):
        a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
        if _before(vertices, b, a):
            a, b = b, a
        if _before(vertices, c, b):
            b, c = c, b
            if _before(vertices, b, a):
                a, b = b, a
        corners[f, 0], corners[f, 1], corners[f, 2] = a, b, c
    return vertices, corners


@njit(cache=True, nogil=True, inline="always")
def _before(vertices, i, j):  # type: ignore[no-untyped-def]
    for k in range(3):
        if vertices[i, k] != vertices[j, k]:
            return vertices[i, k] < vertices[j, k]
    return False


@njit(cache=True, nogil=True)
def face_normals(vertices, corners):  # type: ignore[no-untyped-def]
    """Unit normals (3, m), zero for a face without an area, and normal · corner (m,)."""
    m = corners.shape[0]
    normals = np.zeros((3, m), np.float64)
    offsets = np.zeros(m, np.float64)
    for f in range(m):
        a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        ux, uy, uz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        wx, wy, wz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        longest = max(abs(ux), abs(uy), abs(uz), abs(wx), abs(wy), abs(wz))
        if longest == 0.0:
            continue
        ux, uy, uz = ux / longest, uy / longest, uz / longest
        wx, wy, wz = wx / longest, wy / longest, wz / longest
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        length = math.sqrt(nx * nx + ny * ny + nz * nz)
        if length > 1e-12:  # less is the rounding of three points on a line
            nx, ny, nz = nx / length, ny / length, nz / length
            normals[0, f], normals[1, f], normals[2, f] = nx, ny, nz
            offsets[f] = nx * ax + ny * ay + nz * az
    return normals, offsets
