"""Meshes in the STL format, as text and binary.

Read here and not by trimesh, which takes 2.5 GB for five million binary triangles, and the words of a solid's name for
those of the format (as of 5.2).
"""

from __future__ import annotations

import re
import struct

import numpy as np
from numba import njit

from batchot.errors import ShapeError
from batchot.shapes.formats.numbers import (
    is_blank,
    is_line_end,
    is_white,
    line_of,
    note_slow,
    parse_number,
    read_slow_numbers,
    skip_line,
    skip_token,
    with_decimal_points,
)
from batchot.shapes.formats.polygons import polygon_mesh
from batchot.shapes.shape import Bytes, Floats, Ints, Mesh, finite_mesh

_HEADER, _FACET = 84, 50  # bytes
_LAYOUT = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_TEXT = re.compile(rb"\s*solid", re.IGNORECASE)
_WORDS = (b"facet", b"normal", b"outer", b"loop", b"vertex", b"endloop", b"endfacet", b"solid", b"endsolid")
_FACET_WORD, _NORMAL, _OUTER, _LOOP, _VERTEX, _END_LOOP, _END_FACET, _SOLID, _END_SOLID = range(len(_WORDS))
_END = re.compile(rb"(?:^|[\s])endsolid(?![^\s])[^\r\n]*\Z", re.IGNORECASE)
_LONG_NAME = 10_000  # bytes
_SHOWN = 40  # characters of a line in a message


def is_binary_stl(data: bytes) -> bool:
    """Whether the content is as long as the count in the header of a binary STL file says."""
    return len(data) >= _HEADER and len(data) == _HEADER + _FACET * struct.unpack_from("<I", data, 80)[0]


def read_stl(data: bytes) -> Mesh:
    """The mesh in the content of an STL file; each triangle has three vertices of its own, as in the file."""
    # The count alone makes a binary file whose header has no zero bytes: it is below 2^24.
    if _TEXT.match(data) and b"\x00" not in data[: _HEADER + _FACET]:
        return _read_text(data)
    if data.isascii() and b"\x00" not in data:
        raise ShapeError("is text that does not begin with solid, as an STL file does; restore the file")
    if len(data) < _HEADER:
        raise ShapeError(f"is {len(data)} bytes long, an STL file has {_HEADER} or more; restore the file")
    facets = struct.unpack_from("<I", data, 80)[0]
    tail = data[_HEADER + _FACET * facets :].strip(b"\0 \r\n")
    if facets == 0:
        if len(tail) >= _FACET:
            raise ShapeError(
                f"announces 0 triangles, but {len(data) - _HEADER:,} bytes follow; the count is wrong: save it again"
            )
        raise ShapeError("there are no faces; leave the file out")
    if len(data) < _HEADER + _FACET * facets:
        raise ShapeError(
            f"announces {facets:,} triangles, which take {_HEADER + _FACET * facets:,} bytes in a binary STL file, but "
            f"has {len(data):,}; the file is truncated or damaged: restore it"
        )
    corners = np.frombuffer(data, _LAYOUT, facets, _HEADER)["corners"].reshape(-1, 3)  # (3 m, 3)
    more = len(data) - _HEADER - _FACET * facets
    note = (
        f"{more:,} bytes, as of {more // _FACET:,} more triangles, follow the {facets:,} that its header announces, "
        "and are not read; if a part is missing, the header is wrong"
    )
    faces = np.arange(len(corners)).reshape(-1, 3)
    return finite_mesh(corners, faces, (note,) if tail and more % _FACET == 0 else ())


def _read_text(data: bytes) -> Mesh:
    data = with_decimal_points(data.rstrip(b"\x00 \t\r\n\x1a"), keyword=b"vertex")
    buffer = np.frombuffer(data, dtype=np.uint8)
    words = np.zeros((len(_WORDS), 9), dtype=np.uint8)
    for k, word in enumerate(_WORDS):
        words[k, : len(word)] = np.frombuffer(word, dtype=np.uint8)
    most = data.count(b"v") + data.count(b"V")  # vertices, and a few letters of names
    vertices = np.empty((most, 3))
    corners = np.empty(most, dtype=np.int64)
    slow = np.empty((3 * most, 3), dtype=np.int64)
    n_vertices, n_faces, n_slow, bad, open_facet = _parse(buffer, words, vertices, corners, slow)
    if bad >= 0:
        line = data[bad : bad + _SHOWN].splitlines()[0].decode("latin-1")
        raise ShapeError(
            f"line {line_of(data, bad)}: {line!r} does not belong there in an STL file; the file is damaged: restore it"
        )
    if open_facet:
        raise ShapeError(f"ends within facet {n_faces + 1:,}; the file is truncated: restore it")
    if not _END.search(data[-_LONG_NAME:]):
        raise ShapeError("does not end with endsolid; the file is truncated: restore it")
    if n_faces == 0:
        raise ShapeError("there are no faces; leave the file out")
    vertices = vertices[:n_vertices]
    read_slow_numbers(data, vertices.reshape(-1), slow[:n_slow])
    return polygon_mesh(np.arange(n_vertices), corners[:n_faces], vertices)


@njit(cache=True)
def _word_at(buffer: Bytes, i: int, end: int, words: Bytes) -> int:
    """Which of the words stands at byte ``i`` to ``end``, in capitals or not; -1 if none."""
    for k in range(len(words)):
        for j in range(words.shape[1] + 1):
            letter = words[k, j] if j < words.shape[1] else 0
            if i + j == end or letter == 0:
                if i + j == end and letter == 0:
                    return k
                break
            if (buffer[i + j] | 32) != letter:
                break
    return -1


@njit(cache=True)
def _parse(
    buffer: Bytes, words: Bytes, vertices: Floats, corners: Ints, slow: Ints
) -> tuple[int, int, int, int, bool]:
    """Fill in vertices and how many of them each facet has."""
    n = len(buffer)
    n_vertices = 0
    n_faces = 0
    n_slow = 0
    first = 0
    within = False
    numbers = 0  # of a normal, to be passed over: some programs write no numbers there
    i = 0
    while i < n:
        if is_blank(buffer[i]) or is_line_end(buffer[i]):
            i += 1
            continue
        start = i
        i = skip_token(buffer, i)
        word = _word_at(buffer, start, i, words)
        if numbers > 0 and word != _OUTER:
            while i < n and not is_white(buffer[i]) and not is_line_end(buffer[i]):  # with a decimal comma
                i += 1
            numbers -= 1
            continue
        numbers = 0
        if word == _VERTEX and within:
            for axis in range(3):
                while i < n and (is_blank(buffer[i]) or is_line_end(buffer[i])):
                    i += 1
                if i >= n:
                    return n_vertices, n_faces, n_slow, -1, True
                token = i
                vertices[n_vertices, axis], i, exact = parse_number(buffer, i)
                if not exact:
                    n_slow = note_slow(slow, n_slow, 3 * n_vertices + axis, token, i)
            n_vertices += 1
        elif word == _FACET_WORD and not within:
            within = True
            first = n_vertices
        elif word == _NORMAL and within:
            numbers = 3
        elif word == _END_FACET and within:
            within = False
            corners[n_faces] = n_vertices - first
            n_faces += 1
        elif within and word in (_OUTER, _LOOP, _END_LOOP):
            pass
        elif (word in (_SOLID, _END_SOLID) or buffer[start] == 35) and not within:
            i = skip_line(buffer, i)  # a name, or a comment
        elif i == n:  # within a word
            return n_vertices, n_faces, n_slow, -1, within
        else:
            return n_vertices, n_faces, n_slow, start, within
    return n_vertices, n_faces, n_slow, -1, within
