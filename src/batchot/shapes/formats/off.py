"""Meshes in the OFF format, with the faults of the files that ModelNet publishes.

Read here and not by trimesh, because ModelNet's meshes of a megabyte take it 0.1 s, as long as rendering them.
"""

from __future__ import annotations

import re

import numpy as np

from batchot.errors import ShapeError
from batchot.shapes.formats.numbers import Rows, read_rows
from batchot.shapes.formats.polygons import too_few, triangulate
from batchot.shapes.shape import Mesh, finite_mesh

# Texture coordinates, colours and normals, named in any order, come after x y z, so they can be passed over.
HEADER = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|#[^\r\n]*[\r\n])*(?:ST|C|N(?!(?-i:(?<=n)OFF)))*(4?n?)OFF(?![a-z_])",
    re.IGNORECASE,
)
_BINARY = re.compile(rb"\s*BINARY", re.IGNORECASE)


def read_off(data: bytes) -> Mesh:
    """The mesh in the content of an OFF file."""
    header = HEADER.match(data)
    start = header.end() if header else 0
    if header and header.group(1):
        raise ShapeError(
            f"an OFF file of {header.group(1).decode()}-dimensional vertices; save it with three coordinates"
        )
    if _BINARY.match(data, start):
        raise ShapeError("a binary OFF file, which is not read; save it as text, or as PLY")
    rows = read_rows(data, start)
    n_vertices, n_faces = _counts(rows)
    if len(rows) - 1 != n_vertices + n_faces:
        raise ShapeError(
            f"announces {n_vertices:,} vertices and {n_faces:,} faces, but {len(rows) - 1:,} lines of numbers follow; "
            f"the file is {'truncated' if len(rows) - 1 < n_vertices + n_faces else 'damaged'}: restore it"
        )
    if n_faces == 0:
        raise ShapeError("there are no faces; save points without a surface as .ply, .xyz or .npy")
    columns = rows.columns
    if n_vertices and columns[1 : 1 + n_vertices].min() < 3:
        short = int(columns[1 : 1 + n_vertices].argmin())
        raise ShapeError(f"vertex {short} (counted from 0) has fewer than 3 coordinates; restore the file")
    corners = rows.values[rows.starts[1 + n_vertices : -1]]  # (n_faces,)
    # NaN compares false, so it must be what is asked for that is compared.
    wrong = ~((corners >= 0) & (corners < columns[1 + n_vertices :]) & (corners == np.floor(corners)))
    if wrong.any():
        face = int(wrong.argmax())
        raise ShapeError(
            f"face {face} (counted from 0) announces {corners[face]:g} corners and its line has "
            f"{columns[1 + n_vertices + face] - 1} numbers after that; the file is "
            f"{'truncated' if face == n_faces - 1 and corners[face] > 0 else 'damaged'}: restore it"
        )
    firsts = rows.starts[1 + n_vertices : -1] + 1
    vertices = rows.table(1, 1 + n_vertices, 3)
    counts = corners.astype(np.int64)
    return finite_mesh(vertices, triangulate(rows.values, firsts, counts, vertices), too_few(counts))


def _counts(rows: Rows) -> tuple[int, int]:
    first = rows.values[: rows.starts[1]] if len(rows) else rows.values
    if len(first) not in (2, 3) or not all(0 <= count < 2**53 and count == int(count) for count in first):
        raise ShapeError(
            "the counts of vertices, faces and edges should follow the header OFF, but "
            f"{' '.join(f'{value:g}' for value in first[:6]) or 'nothing'} does; restore the file"
        )
    return int(first[0]), int(first[1])
