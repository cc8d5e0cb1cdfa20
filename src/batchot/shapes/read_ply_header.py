"""Headers of PLY files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchot.shapes.errors import ShapeError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
HEADER = re.compile(rb"ply[ \t]*(\r\n|\r|\n)")
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
                elements.append(PlyElement(name, int(count), ()))
            case ["property", "list", count_type, kind, name] if (
                elements and kind in _TYPES and _TYPES.get(count_type, "f")[0] in "iu"
            ):
                entry = PlyProperty(name, _TYPES[kind], _TYPES[count_type])
                elements[-1] = _extended(elements[-1], entry)
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1] = _extended(elements[-1], PlyProperty(name, _TYPES[kind]))
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
