"""Meshes and points in the PLY format (ascii and binary)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.formats.numbers import read_rows, whole_number
from batchot.shapes.formats.points import cloud_with_normals
from batchot.shapes.formats.polygons import strip_triangles, too_few, triangulate
from batchot.shapes.shape import Bools, Bytes, Floats, Ints, Shape, finite_cloud, finite_mesh

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float16": "f2",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
HEADER = re.compile(rb"(?:ply|PLY)[ \t]*(\r\n|\r|\n)")
_END = re.compile(rb"(?<=[\r\n])end_header[ \t]*(\r\n|\r|\n|\Z)")
_MOST_LINES = 1000  # elements and properties; each of them takes time of its own


@dataclass(frozen=True)
class PlyProperty:
    """A number, or a list of numbers, of each entry of an element."""

    name: str
    type: str  # of the value, or of the items of a list
    count_type: str = ""  # of the number of items of a list; empty for a single value


@dataclass(frozen=True)
class PlyElement:
    """So many entries, such as vertices or faces, of the same properties."""

    name: str
    count: int
    properties: tuple[PlyProperty, ...]

    @property
    def has_list(self) -> bool:
        """Whether entries may differ in length."""
        return any(entry.count_type for entry in self.properties)

    def places(self, names: tuple[str, ...]) -> list[int] | None:
        """Which properties have these names and are single numbers; ``None`` unless all are there."""
        numbers = [entry.name if not entry.count_type else "" for entry in self.properties]
        return [numbers.index(name) for name in names] if set(names) <= set(numbers) else None


def parse_ply_header(data: bytes) -> tuple[str, list[PlyElement], int]:
    """The byte order (empty for text), the elements, and where their content begins."""
    first, last = HEADER.match(data), _END.search(data)
    if first is None or last is None:
        raise ShapeError("the header of the PLY file has no end_header; the file is truncated: restore it")
    # After a header whose lines end in a return alone, what looks like a line feed is the first byte of the content.
    start = last.start(1) + 1 if first.group(1) == b"\r" else last.end()
    order = None
    elements: list[PlyElement] = []
    lines = 0
    for line in re.split(r"[\r\n]+", data[first.end() : last.start()].decode("latin-1")):
        words = line.split()
        lines += words[:1] in (["element"], ["property"])
        if lines > _MOST_LINES:
            raise ShapeError(
                f"the PLY header has more than {_MOST_LINES:,} elements and properties; save the shape without them"
            )
        match words:
            case ["format", name, _] if name in _FORMATS:
                order = _FORMATS[name]
            case ["element", name, count] if count.isascii() and count.isdigit():
                elements.append(PlyElement(name, whole_number(count), ()))
            case ["property", "list", count_type, kind, name] if (
                elements and kind in _TYPES and _TYPES.get(count_type, "f")[0] in "iu"
            ):
                entry = PlyProperty(name.lower(), _TYPES[kind], _TYPES[count_type])
                elements[-1] = _extended(elements[-1], entry)
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1] = _extended(elements[-1], PlyProperty(name.lower(), _TYPES[kind]))
            case [] | ["comment", *_] | ["obj_info", *_]:
                pass
            case _:
                raise ShapeError(
                    f"the line {line[:60]!r} of the PLY header is not understood; restore the file"
                )
    names = [element.name for element in elements]
    if order is None or names.count("vertex") != 1 or max(names.count("face"), names.count("tristrips")) > 1:
        raise ShapeError(
            f"the PLY header gives {'a' if order is not None else 'no'} format and the elements "
            f"{names[:10]}; it should give a format, one element vertex and at most one element face: restore the file"
        )
    return order, elements, start


def _extended(element: PlyElement, entry: PlyProperty) -> PlyElement:
    return PlyElement(element.name, element.count, (*element.properties, entry))


_CORNERS = ("vertex_indices", "vertex_index")
_WITH_CORNERS = ("face", "tristrips")


@dataclass(frozen=True, eq=False)
class Polygons:
    """Corners of polygons among other numbers, as ``triangulate`` takes them."""

    values: Floats | Ints
    firsts: Ints
    corners: Ints


def _corner_list(face: PlyElement) -> int:
    """Which property of the faces names their vertices."""
    for i, entry in enumerate(face.properties):
        if entry.name in _CORNERS and entry.count_type and entry.type[0] in "iu":
            return i
    names = [entry.name for entry in face.properties]
    raise ShapeError(
        f"faces have the properties {names}, no list of whole numbers vertex_indices; restore the file"
    )


def _too_short(element: PlyElement) -> ShapeError:
    return ShapeError(
        f"announces {element.count:,} entries of {element.name!r} and ends before the last of them; "
        "the file is truncated: restore it"
    )


def read_text_elements(
    data: bytes, start: int, order: str, elements: list[PlyElement], names: tuple[str, ...]
) -> tuple[Floats, dict[str, Polygons], str]:
    """The properties ``names`` of the vertices, (n, k), the polygons of faces and of strips, and what is left."""
    rows = read_rows(data, start)
    columns = rows.columns
    vertices = np.empty((0, len(names)))
    lists: dict[str, Polygons] = {}
    first = 0
    for element in elements:
        if not element.properties:
            continue
        last = first + element.count
        if last > len(rows):
            raise _too_short(element)
        is_list = np.array([bool(entry.count_type) for entry in element.properties])
        firsts, corners = np.empty((2, element.count), dtype=np.int64)
        starts = rows.starts[first : last + 1]
        if element.name == "vertex":
            places = element.places(names) or []
            if element.has_list:
                vertices = np.empty((element.count, len(names)))
                for k, place in enumerate(places):
                    if not _walk_text(rows.values, starts, is_list, place, firsts, corners):
                        raise _too_few_numbers("vertex")
                    vertices[:, k] = rows.values[firsts]
            else:
                if element.count and columns[first:last].min() < len(is_list):
                    raise _too_few_numbers("vertex")
                vertices = rows.table(first, last, len(is_list))[:, places]
        elif element.name in _WITH_CORNERS and element.count:
            if not _walk_text(rows.values, starts, is_list, _corner_list(element), firsts, corners):
                raise _too_few_numbers("face")
            lists[element.name] = Polygons(rows.values, firsts, corners)
        first = last
    return vertices, lists, f"{len(rows) - first:,} lines of numbers" if first < len(rows) else ""


def _too_few_numbers(what: str) -> ShapeError:
    return ShapeError(f"a {what} has fewer numbers than it announces; the file is damaged: restore it")


def read_binary_elements(
    data: bytes, start: int, order: str, elements: list[PlyElement], names: tuple[str, ...]
) -> tuple[Floats, dict[str, Polygons], str]:
    """As ``read_text_elements``, for numbers in the byte order ``order``."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    vertices = np.empty((0, len(names)))
    lists: dict[str, Polygons] = {}
    for element in elements:
        kinds = [np.dtype(order + entry.type) for entry in element.properties]
        sizes = np.array([kind.itemsize for kind in kinds], dtype=np.int64)
        places = (element.places(names) or []) if element.name == "vertex" else []
        if not element.has_list:
            end = start + element.count * int(sizes.sum())
            if end > len(data):
                raise _too_short(element)
            if places:
                layout = np.dtype([(f"{i}", kind) for i, kind in enumerate(kinds)])
                table = np.frombuffer(data, layout, element.count, start)
                with np.errstate(invalid="ignore"):  # a signalling NaN, which is found when all are there
                    vertices = np.column_stack([table[f"{i}"].astype(np.float64) for i in places])
            elif element.name in _WITH_CORNERS and element.count:
                _corner_list(element)
        else:
            count_sizes = np.array(
                [int(entry.count_type[1:] or 0) for entry in element.properties], dtype=np.int64
            )
            if element.name in _WITH_CORNERS and element.count:
                places = [_corner_list(element)]
            if element.count > len(data) - start:  # every entry takes a byte at least
                raise _too_short(element)
            firsts, corners = np.empty((2, element.count), dtype=np.int64)
            gathered = []
            for place in places or [0]:
                end = _walk_binary(buffer, start, order == ">", sizes, count_sizes, place, firsts, corners)
                if end < 0:
                    raise _too_short(element)
                gathered.append(_gather(buffer, firsts, corners, kinds[place]))
            if element.name == "vertex":
                vertices = np.column_stack([numbers.astype(np.float64) for numbers in gathered])
            elif element.name in _WITH_CORNERS and element.count:
                values = gathered[0].astype(np.int64)
                lists[element.name] = Polygons(values, np.cumsum(corners) - corners, corners)
        start = end
    return vertices, lists, f"{len(data) - start:,} bytes" if data[start:].strip(b"\0 \r\n") else ""


def _gather(buffer: Bytes, firsts: Ints, corners: Ints, kind: np.dtype[Any]) -> NDArray[Any]:
    """The items of lists at byte positions ``firsts``, one list after the other."""
    packed = np.empty((int(corners.sum()), kind.itemsize), dtype=np.uint8)
    _copy(buffer, firsts, corners, kind.itemsize, packed)
    return packed.view(kind).reshape(-1)


@njit(cache=True)
def _copy(buffer: Bytes, firsts: Ints, corners: Ints, size: int, packed: Bytes) -> None:
    k = 0
    for p in range(len(firsts)):
        position = firsts[p]
        for _ in range(corners[p]):
            for j in range(size):
                packed[k, j] = buffer[position + j]
            position += size
            k += 1


@njit(cache=True)
def _walk_text(
    values: Floats, starts: Ints, is_list: Bools, wanted: int, firsts: Ints, corners: Ints
) -> bool:
    """Find the wanted list in each row of numbers; whether every row is as long as it says."""
    for row in range(len(starts) - 1):
        position = starts[row]
        end = starts[row + 1]
        for i in range(len(is_list)):
            items = 1
            if is_list[i]:
                if position >= end:
                    return False
                count = values[position]
                if not (0 <= count <= end - position and count == np.floor(count)):
                    return False
                items = int(count)
                position += 1
            if i == wanted:
                firsts[row] = position
                corners[row] = items
            position += items
            if position > end:
                return False
    return True


@njit(cache=True)
def _walk_binary(
    buffer: Bytes,
    position: int,
    big: bool,
    sizes: Ints,
    count_sizes: Ints,
    wanted: int,
    firsts: Ints,
    corners: Ints,
) -> int:
    """Find the wanted list in each entry; the end of the last entry, or -1 where the content ends before it."""
    n = len(buffer)
    for row in range(len(firsts)):
        for i in range(len(sizes)):
            items = 1
            width = count_sizes[i]
            if width > 0:
                if position + width > n:
                    return -1
                items = 0
                for j in range(width):
                    items = min(items, n) * 256 + buffer[position + (j if big else width - 1 - j)]
                position += width
            if i == wanted:
                firsts[row] = position
                corners[row] = items
            position += items * sizes[i]
            if position > n:
                return -1
    return position


_AXES: tuple[str, ...] = ("x", "y", "z")
_NORMALS = ("nx", "ny", "nz")


def read_ply(data: bytes) -> Shape:
    """The mesh in the content of a PLY file, or the cloud of points if it has no faces."""
    order, elements, start = parse_ply_header(data)
    vertex = next(element for element in elements if element.name == "vertex")
    names = _AXES if vertex.places(_AXES + _NORMALS) is None else _AXES + _NORMALS
    if vertex.places(names) is None:
        found = [entry.name for entry in vertex.properties]
        raise ShapeError(
            f"vertices have the properties {found[:20]}, not the numbers x, y and z; save them with coordinates"
        )
    read = read_text_elements if order == "" else read_binary_elements
    vertices, lists, left = read(data, start, order, elements, names)
    points = vertices[:, :3]
    faces = [_triangles(name, found, points) for name, found in lists.items() if len(found.corners)]
    shape: Shape
    if faces:
        notes = too_few(lists["face"].corners) if "face" in lists else ()
        shape = finite_mesh(points, np.concatenate(faces), notes)
    elif names != _AXES:
        shape = cloud_with_normals(points, vertices[:, 3:])
    else:
        shape = finite_cloud(points)
    if not left:
        return shape
    note = f"{left} follow what its header announces, and are not read; if a part is missing, the header is wrong"
    return replace(shape, notes=(*shape.notes, note))


def _triangles(element: str, found: Polygons, points: Floats) -> Ints:
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
