"""Meshes in the STL format: text is read by trimesh, and binary is an array as it is.

Five million binary triangles take trimesh (5.2) 2.5 GB, as it copies them into a scene and computes their normals.
"""

from __future__ import annotations

import io
import struct

import numpy as np

from batchot.shapes.errors import ShapeError
from batchot.shapes.extra import require
from batchot.shapes.read_numbers import with_decimal_points
from batchot.shapes.shape import Mesh, finite_mesh

_HEADER, _FACET = 84, 50  # bytes
_LAYOUT = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def is_binary_stl(data: bytes) -> bool:
    """Whether the content is as long as the count in the header of a binary STL file says.

    Example:
        >>> from batchot.shapes.read_stl import is_binary_stl
        >>> is_binary_stl(bytes(80) + (1).to_bytes(4, "little") + bytes(50)), is_binary_stl(b"solid")
        (True, False)
    """
    return len(data) >= _HEADER and len(data) == _HEADER + _FACET * struct.unpack_from("<I", data, 80)[0]


def read_stl(data: bytes) -> Mesh:
    """The mesh in the content of an STL file; each triangle has three vertices of its own, as in the file.

    Args:
        data: the content of the file.

    Returns:
        The mesh.

    Raises:
        ShapeError: truncated or damaged.

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.read_stl import read_stl
        >>> facet = np.zeros(12, np.float32)
        >>> facet[[6, 10]] = 1
        >>> read_stl(bytes(80) + (1).to_bytes(4, "little") + facet.tobytes() + bytes(2)).vertices.tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if is_binary_stl(data):
        corners = np.frombuffer(data, _LAYOUT, offset=_HEADER)["corners"].reshape(-1, 3)  # (3 m, 3)
        if len(corners) == 0:
            raise ShapeError("there are no faces; leave the file out")
        return finite_mesh(corners, np.arange(len(corners)).reshape(-1, 3))
    if data[:1024].lstrip().lower().startswith(b"solid") and b"facet" in data[:4096].lower():
        return _read_text(data)
    if len(data) < _HEADER:
        raise ShapeError(f"is {len(data)} bytes long, an STL file has {_HEADER} or more; restore the file")
    facets = struct.unpack_from("<I", data, 80)[0]
    raise ShapeError(
        f"announces {facets:,} triangles, which take {_HEADER + _FACET * facets:,} bytes in a binary STL file, but "
        f"has {len(data):,}; the file is truncated or damaged: restore it"
    )


def _read_text(data: bytes) -> Mesh:
    trimesh = require("trimesh")
    data = with_decimal_points(data, keyword=b"vertex")
    facets = _count_facets(data)
    if facets == 0:
        raise ShapeError("there are no faces; leave the file out")
    try:
        mesh = trimesh.load_scene(io.BytesIO(data), file_type="stl", process=False).to_mesh()
        vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    except Exception as error:  # whatever a damaged file leads to
        raise ShapeError(f"cannot be read as STL ({error}); the file is damaged: restore it") from error
    if len(faces) != facets:
        raise ShapeError(
            f"has {facets:,} facets of which {len(faces):,} can be read; the file is damaged: restore it"
        )
    return finite_mesh(vertices, faces)


def _count_facets(data: bytes) -> int:
    text = data.lower()
    ends = text.count(b"endfacet")
    begins = text.count(b"facet") - ends
    if begins != ends or b"endsolid" not in text[text.rfind(b"endfacet") :]:
        raise ShapeError(
            f"begins {begins:,} facets and ends {ends:,}, or does not end with endsolid; the file is truncated or "
            "damaged: restore it"
        )
    return ends
