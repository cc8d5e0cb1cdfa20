"""Meshes and clouds of points in the PLY format, as text and binary.

Read here and not by trimesh, which (as of 5.2) refuses binary files that mix triangles and quadrilaterals.
"""

from __future__ import annotations

from batchot.shapes.errors import ShapeError
from batchot.shapes.read_ply_elements import read_binary_elements, read_text_elements
from batchot.shapes.read_ply_header import parse_ply_header
from batchot.shapes.read_points import cloud_with_normals
from batchot.shapes.read_polygons import triangulate
from batchot.shapes.shape import Mesh, PointCloud, Shape

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
    names = [entry.name for entry in next(e for e in elements if e.name == "vertex").properties]
    if not {"x", "y", "z"} <= set(names):
        raise ShapeError(f"vertices have the properties {names}, not x, y and z; save them with coordinates")
    read = read_text_elements if order == "" else read_binary_elements
    vertices, polygons = read(data, start, order, elements)
    points = vertices[:, [names.index(axis) for axis in "xyz"]]  # (n, 3)
    if polygons is not None and len(polygons.corners):
        return Mesh(points, triangulate(polygons.values, polygons.firsts, polygons.corners, points))
    if set(_NORMALS) <= set(names):
        return cloud_with_normals(points, vertices[:, [names.index(name) for name in _NORMALS]])
    return PointCloud(points)
