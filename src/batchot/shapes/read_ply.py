"""Meshes and clouds of points in the PLY format, as text and binary.

Read here and not by trimesh, which (as of 5.2) refuses binary files that mix triangles and quadrilaterals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchot.shapes.errors import ShapeError
from batchot.shapes.read_ply_elements import Polygons, read_binary_elements, read_text_elements
from batchot.shapes.read_ply_header import parse_ply_header
from batchot.shapes.read_points import cloud_with_normals
from batchot.shapes.read_polygons import strip_triangles, triangulate
from batchot.shapes.shape import Shape, finite_cloud, finite_mesh

_AXES: tuple[str, ...] = ("x", "y", "z")
_NORMALS = ("nx", "ny", "nz")


def read_ply(data: bytes) -> Shape:
    """The mesh in the content of a PLY file, or the cloud of points if it has no faces.

    Args:
        data: the content of the file.

    Returns:
        A mesh, its polygons cut into triangles; without faces a cloud, with its normals if it has them.

    Raises:
        ShapeError: truncated, damaged or with a header that is not understood.

    Source:
        G. Turk, The PLY Polygon File Format, 1994.

    Example:
        >>> from batchot.shapes.read_ply import read_ply
        >>> read_ply(b"ply\\nformat ascii 1.0\\nelement vertex 1\\nproperty float x\\nproperty float y\\n"
        ...          b"property float z\\nend_header\\n1 2 3\\n").points
        array([[1., 2., 3.]])
    """
    order, elements, start = parse_ply_header(data)
    vertex = next(element for element in elements if element.name == "vertex")
    names = _AXES if vertex.places(_AXES + _NORMALS) is None else _AXES + _NORMALS
    if vertex.places(names) is None:
        found = [entry.name for entry in vertex.properties]
        raise ShapeError(
            f"vertices have the properties {found[:20]}, not the numbers x, y and z; save them with coordinates"
        )
    read = read_text_elements if order == "" else read_binary_elements
    vertices, lists = read(data, start, order, elements, names)
    points = vertices[:, :3]
    faces = [_triangles(name, found, points) for name, found in lists.items() if len(found.corners)]
    if faces:
        return finite_mesh(points, np.concatenate(faces))
    if names != _AXES:
        return cloud_with_normals(points, vertices[:, 3:])
    return finite_cloud(points)


def _triangles(element: str, found: Polygons, points: NDArray[np.float64]) -> NDArray[np.int64]:
    if element == "face":
        return triangulate(found.values, found.firsts, found.corners, points)
    # One strip after the other; -1 begins a new one, so that it may stand between two.
    counts = found.corners
    ends = np.cumsum(counts)
    places = np.arange(counts.sum())
    values = np.full(len(places) + len(counts), -1, dtype=found.values.dtype)
    values[places + np.repeat(np.arange(len(counts)), counts)] = found.values[
        places + np.repeat(found.firsts - (ends - counts), counts)
    ]
    strips = strip_triangles(values)
    return triangulate(strips.reshape(-1), np.arange(0, strips.size, 3), np.full(len(strips), 3), points)
