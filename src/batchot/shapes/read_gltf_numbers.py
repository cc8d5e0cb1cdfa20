"""The numbers that a glTF file names: accessors, through views, into buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.shapes.errors import ShapeError

_KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Accessors:
    """Accessors of a tree as arrays; whatever is wrong with one is an error of Python's, or a ``ShapeError``.

    Args:
        tree: the parsed JSON.
        buffer: gives the content of a buffer by its number.
        most: entries that accessors may hold that are not in a buffer as they are.
    """

    def __init__(self, tree: dict[str, Any], buffer: Callable[[int], bytes], most: int) -> None:
        self._accessors, self._views = tree.get("accessors", []), tree.get("bufferViews", [])
        self._buffer, self._left = buffer, most
        self._known: dict[int, NDArray[Any]] = {}

    def count(self, index: Any) -> int:
        """How many entries an accessor has."""
        entry = entry_of(self._accessors, index)
        if type(entry.get("count")) is not int or entry["count"] < 1:
            raise ShapeError("an accessor has no count; the file is damaged: restore it")
        return int(entry["count"])

    def has_numbers(self, index: Any) -> bool:
        """Whether it has any; else they are all zero, or an extension has them."""
        entry = entry_of(self._accessors, index)
        return "bufferView" in entry or "sparse" in entry

    def raw(self, index: Any, kind: str) -> NDArray[Any]:
        """Its numbers as they are stored, (count, width) of the type ``kind``."""
        if index in self._known:
            found = self._known[index]
        else:
            found = self._known[index] = self._read(index)
        if found.shape[1] != _WIDTHS[kind]:
            raise TypeError(f"accessor {index} is no {kind}")
        return found

    def floats(self, index: Any, kind: str, rows: Any = slice(None)) -> NDArray[np.float64]:
        """Rows of its numbers; whole numbers that are normalised become -1 to 1, or 0 to 1."""
        raw = self.raw(index, kind)
        numbers = raw[rows].astype(np.float64)
        if self._accessors[index].get("normalized") and raw.dtype.kind in "iu":
            numbers = np.maximum(numbers / np.iinfo(raw.dtype).max, -1.0)
        return numbers

    def whole(self, index: Any, kind: str) -> NDArray[Any]:
        """Its numbers, which must be whole and none below 0."""
        raw = self.raw(index, kind)
        if raw.dtype.kind != "u":
            raise TypeError(f"accessor {index} has no whole numbers")
        return raw

    def _read(self, index: int) -> NDArray[Any]:
        entry, count = entry_of(self._accessors, index), self.count(index)
        width, kind = _WIDTHS[entry["type"]], np.dtype(_KINDS[entry["componentType"]])
        if "bufferView" in entry:
            numbers = self._strided(entry["bufferView"], entry.get("byteOffset", 0), count, width, kind)
            if "sparse" not in entry:
                return numbers
        self._left -= count
        if self._left < 0:
            raise ShapeError("its sparse accessors hold more entries than a shape may have; save it without")
        numbers = numbers.copy() if "bufferView" in entry else np.zeros((count, width), kind)
        if "sparse" in entry:
            self._replace(numbers, entry["sparse"])
        return numbers

    def _replace(self, numbers: NDArray[Any], sparse: dict[str, Any]) -> None:
        places, values, count = sparse["indices"], sparse["values"], _whole(sparse["count"])
        kind = np.dtype(_KINDS[places["componentType"]])
        if kind.kind != "u":
            raise TypeError("places of a sparse accessor are no whole numbers")
        rows = self._strided(places["bufferView"], places.get("byteOffset", 0), count, 1, kind)[:, 0]
        width = numbers.shape[1]
        numbers[rows] = self._strided(
            values["bufferView"], values.get("byteOffset", 0), count, width, numbers.dtype
        )

    def _strided(
        self, view_index: Any, offset: Any, count: int, width: int, kind: np.dtype[Any]
    ) -> NDArray[Any]:
        """So many rows of so many numbers in a view, without a copy."""
        view = entry_of(self._views, view_index)
        buffer = self._buffer(view["buffer"])
        size = width * kind.itemsize
        stride = _whole(view.get("byteStride", 0)) or size
        begin, length, offset = _whole(view.get("byteOffset", 0)), _whole(view["byteLength"]), _whole(offset)
        if stride < size or offset + (count - 1) * stride + size > length or begin + length > len(buffer):
            raise ShapeError(
                f"{count:,} entries of {size} bytes do not fit into view {view_index}, or that not into its buffer; "
                "the file is damaged: restore it"
            )
        return np.ndarray((count, width), kind, buffer, begin + offset, (stride, kind.itemsize))


def entry_of(entries: Any, index: Any) -> dict[str, Any]:
    """The entry that an index of the JSON names."""
    if type(index) is not int or not 0 <= index < len(entries):
        raise IndexError(f"{index!r} is not one of 0 to {len(entries) - 1}")
    entry = entries[index]
    if not isinstance(entry, dict):
        raise TypeError(f"entry {index} is no object")
    return entry


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no count of bytes")
    return value
