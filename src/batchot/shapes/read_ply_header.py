"""Headers of PLY files."""

from __future__ import annotations

from dataclasses import dataclass

from batchot.shapes.errors import ShapeError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_END = b"end_header"


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


def parse_ply_header(data: bytes) -> tuple[str, list[PlyElement], int]:
    """The byte order (empty for text), the elements, and where their content begins."""
    end = data.find(_END)
    if end < 0:
        raise ShapeError("the header of the PLY file has no end_header; the file is truncated: restore it")
    start = end + len(_END)
    if data[start : start + 2] == b"\r\n":
        start += 2
    elif data[start : start + 1] in (b"\n", b"\r"):
        start += 1
    order = None
    elements: list[PlyElement] = []
    for line in data[:end].decode("latin-1").splitlines()[1:]:
        match line.split():
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
    if order is None or names.count("vertex") != 1 or names.count("face") > 1:
        raise ShapeError(
            f"the PLY header gives {'a' if order is not None else 'no'} format and the elements {names}; "
            "it should give a format, one element vertex and at most one element face: restore the file"
        )
    if "tristrips" in names:
        raise ShapeError("its faces are triangle strips, which are not read; save them as faces")
    if next(element for element in elements if element.name == "vertex").has_list:
        raise ShapeError("its vertices have lists as properties, which are not read; save them without")
    return order, elements, start


def _extended(element: PlyElement, entry: PlyProperty) -> PlyElement:
    return PlyElement(element.name, element.count, (*element.properties, entry))
