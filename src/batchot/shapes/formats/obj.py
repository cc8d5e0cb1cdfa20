"""Meshes in the Wavefront OBJ format.

Read here and not by trimesh, which counts negative indices from the end of the file instead of from the line (as of
5.2), takes index 0 for 1, passes over lines with tabs, and splits vertices along the seams of textures.
"""

from __future__ import annotations

import re

import numpy as np
from numba import njit

from batchot.errors import ShapeError
from batchot.shapes.formats.numbers import (
    is_blank,
    is_line_end,
    line_of,
    note_slow,
    parse_number,
    read_slow_numbers,
    skip_line,
    skip_token,
    state_of,
    with_decimal_points,
    without_marks,
)
from batchot.shapes.formats.polygons import polygon_mesh
from batchot.shapes.shape import Bytes, Floats, Ints, Mesh

# A vertex or a face of several lines, all but the last of which end in a backslash; comments, names of materials and of
# files may end in one as well, which means nothing.
_CONTINUED = re.compile(rb"(?<![^\r\n])[ \t]*[vfVF][ \t](?:[^\r\n#\\]*\\[ \t]*(?:\r\n|\r|\n|\Z))+")
_LINE_ENDS_AS_BLANKS = bytes.maketrans(b"\\\r\n", b"   ")
_SURFACE = re.compile(rb"^[ \t]*surf[ \t]", re.MULTILINE)
_VERTEX, _FACE, _OTHER = 0, 1, 2


def read_obj(data: bytes) -> Mesh:
    """The mesh in the content of an OBJ file: all its objects and groups as one surface."""
    data = without_marks(data)
    if b"surf" in data and _SURFACE.search(data):
        raise ShapeError("has free-form surfaces (surf), which are not read; save it as triangles")
    joined = _CONTINUED.sub(_without_line_ends, data) if b"\\" in data else data
    joined = with_decimal_points(joined, keyword=b"v")
    buffer = np.frombuffer(joined, dtype=np.uint8)
    none = np.empty(0, dtype=np.int64)
    n_vertices, n_faces, n_corners, _, _ = _scan(buffer, np.empty((0, 3)), none, none, none.reshape(0, 3))
    if n_corners == 0:
        raise ShapeError(
            f"there are no faces ({n_vertices:,} vertices); if it is a cloud of points, save it as .ply or .xyz"
        )
    vertices = np.empty((n_vertices, 3))
    flat = np.empty(n_corners, dtype=np.int64)
    corners = np.empty(n_faces, dtype=np.int64)
    slow = np.empty((3 * n_vertices, 3), dtype=np.int64)
    _, _, _, n_slow, bad = _scan(buffer, vertices, flat, corners, slow)
    if bad >= 0:
        end = data.find(b"\n", bad)
        shown = data[bad : end if end >= 0 else None][:40].decode("latin-1")
        raise ShapeError(
            f"line {line_of(data, bad)}: {shown!r} should be three coordinates or the corners of a face "
            f"(there are {n_vertices:,} vertices, counted from 1); the file is {state_of(data, bad)}: restore it"
        )
    read_slow_numbers(joined, vertices.reshape(-1), slow[:n_slow])
    return polygon_mesh(flat, corners, vertices)


def _without_line_ends(match: re.Match[bytes]) -> bytes:
    """A statement of several lines as one, every byte in its place, so that messages tell the line of the file."""
    return match.group().translate(_LINE_ENDS_AS_BLANKS)


@njit(cache=True)
def _line_kind(buffer: Bytes, i: int) -> tuple[int, int]:
    """What the line that begins at byte ``i`` tells of, and the position after its keyword."""
    n = len(buffer)
    while i < n and is_blank(buffer[i]):
        i += 1
    if i + 1 < n and (is_blank(buffer[i + 1]) or is_line_end(buffer[i + 1])):
        if buffer[i] | 32 == 118:  # in capitals or not
            return _VERTEX, i + 1
        if buffer[i] | 32 == 102:
            return _FACE, i + 1
    old = i + 2 < n and buffer[i] == 102 and buffer[i + 1] == 111 and is_blank(buffer[i + 2])  # fo
    if old:
        return _FACE, i + 2
    return _OTHER, i


@njit(cache=True)
def _next_token(buffer: Bytes, i: int) -> int:
    """The position of the next token of the line, or -1 at its end."""
    while i < len(buffer) and is_blank(buffer[i]):
        i += 1
    if i >= len(buffer) or is_line_end(buffer[i]) or buffer[i] == 35:
        return -1
    return i


@njit(cache=True)
def _scan(
    buffer: Bytes, vertices: Floats, flat: Ints, corners: Ints, slow: Ints
) -> tuple[int, int, int, int, int]:
    """Count vertices, faces, corners of these and numbers that need a second look, and fill them in where there is
    room; the position of an error or -1."""
    n_vertices = 0
    n_faces = 0
    n_corners = 0
    n_slow = 0
    filling = len(flat) > 0
    bad = -1
    i = 0
    while i < len(buffer) and bad < 0:
        start = i
        kind, i = _line_kind(buffer, i)
        if kind == _VERTEX:
            if filling:
                for axis in range(3):
                    token = _next_token(buffer, i)
                    if token < 0:
                        bad = start
                        break
                    vertices[n_vertices, axis], i, exact = parse_number(buffer, token)
                    if not exact:
                        n_slow = note_slow(slow, n_slow, 3 * n_vertices + axis, token, i)
            n_vertices += 1
        elif kind == _FACE:
            first = n_corners
            token = _next_token(buffer, i)
            while token >= 0:
                if filling:
                    index, i = _index(buffer, token, n_vertices)
                    if index < 0 or index >= len(vertices):
                        bad = start
                        break
                    flat[n_corners] = index
                else:
                    i = skip_token(buffer, token)
                n_corners += 1
                token = _next_token(buffer, i)
            if filling:
                corners[n_faces] = n_corners - first
            n_faces += 1
        i = skip_line(buffer, i) + 1
    return n_vertices, n_faces, n_corners, n_slow, bad


@njit(cache=True)
def _index(buffer: Bytes, i: int, n_vertices: int) -> tuple[int, int]:
    """The vertex that a corner such as ``7``, ``7/1/3`` or ``-2//4`` names, from 0 (-1: none), and the token's end."""
    n = len(buffer)
    negative = buffer[i] == 45
    if negative or buffer[i] == 43:
        i += 1
    number = 0
    while i < n and 48 <= buffer[i] <= 57 and number < 1 << 53:
        number = number * 10 + (buffer[i] - 48)
        i += 1
    clean = i >= n or buffer[i] == 47 or is_blank(buffer[i]) or is_line_end(buffer[i])
    i = skip_token(buffer, i)
    if not clean or number == 0:
        return -1, i
    return (n_vertices - number if negative else number - 1), i
