"""Clouds of points in the PCD format of the Point Cloud Library."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.formats.numbers import read_rows
from batchot.shapes.formats.points import cloud_with_normals
from batchot.shapes.shape import PointCloud, finite_cloud

_TYPES = {
    ("F", 4): "<f4", ("F", 8): "<f8",
    ("I", 1): "<i1", ("I", 2): "<i2", ("I", 4): "<i4", ("I", 8): "<i8",
    ("U", 1): "<u1", ("U", 2): "<u2", ("U", 4): "<u4", ("U", 8): "<u8",
}  # fmt: skip
_NORMALS = ("normal_x", "normal_y", "normal_z")
_LZF_RATIO = 100  # three bytes of LZF stand for 264 at most


@dataclass(frozen=True)
class _Layout:
    names: tuple[str, ...]
    types: tuple[str, ...]
    counts: tuple[int, ...]  # values of each field, for each point
    points: int
    encoding: str  # ascii, binary or binary_compressed

    @property
    def dtype(self) -> np.dtype[np.void]:
        fields = zip(self.types, self.counts, strict=True)
        return np.dtype([(f"{i}", kind, (count,)) for i, (kind, count) in enumerate(fields)])


def read_pcd(data: bytes) -> PointCloud:
    """The cloud of points in the content of a PCD file: text, binary or compressed."""
    layout, start = _header(data)
    if not {"x", "y", "z"} <= set(layout.names):
        raise ShapeError(f"points have the fields {layout.names}, not x, y and z; save them with coordinates")
    wanted = [*"xyz", *(_NORMALS if set(_NORMALS) <= set(layout.names) else ())]
    if layout.encoding == "ascii":
        columns = _text_columns(data, start, layout, wanted)
    else:
        table = _binary_table(data, start, layout)
        with np.errstate(invalid="ignore"):  # a signalling NaN, which is as good as any
            columns = np.column_stack(
                [table[f"{layout.names.index(name)}"][:, 0].astype(np.float64) for name in wanted]
            )
    if columns.shape[1] == 6:
        return cloud_with_normals(columns[:, :3], columns[:, 3:])
    return finite_cloud(columns)


def _header(data: bytes) -> tuple[_Layout, int]:
    entries: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in entries:
        end = data.find(b"\n", start)
        if end < 0 or len(entries) > 20:
            state = "truncated" if end < 0 else "damaged"
            raise ShapeError(f"the header of the PCD file has no line DATA; the file is {state}: restore it")
        words = data[start:end].decode("latin-1").split("#", 1)[0].split()
        if words:
            entries[words[0].upper()] = words[1:]
        start = end + 1
    names = tuple(entries.get("FIELDS", entries.get("COLUMNS", [])))
    try:
        counts = tuple(int(word) for word in entries.get("COUNT", ["1"] * len(names)))
        kinds = zip(entries["TYPE"], entries["SIZE"], strict=True)
        types = tuple(_TYPES[kind.upper(), int(size)] for kind, size in kinds)
        points = int(entries["POINTS"][0] if "POINTS" in entries else entries["WIDTH"][0])
        encoding = entries["DATA"][0].lower()
        right = len(names) == len(types) == len(counts) and min(counts) > 0 and points >= 0
    except (KeyError, ValueError, IndexError):
        right = False
    if not right or encoding not in ("ascii", "binary", "binary_compressed") or sum(counts) > 10_000:
        shown = {key: " ".join(words)[:40] for key, words in entries.items() if key != "VIEWPOINT"}
        raise ShapeError(f"the header of the PCD file is not understood: {shown}; restore the file")
    return _Layout(names, types, counts, points, encoding), start


def _text_columns(data: bytes, start: int, layout: _Layout, wanted: list[str]) -> NDArray[np.float64]:
    rows = read_rows(data, start)
    width = sum(layout.counts)
    if len(rows) != layout.points or (rows.columns != width).any():
        cut = len(rows) < layout.points or (rows.columns[-1] < width and not data.endswith((b"\n", b"\r")))
        raise _wrong(layout, f"{len(rows):,} lines of numbers follow, not all of {width} numbers", cut)
    firsts = np.cumsum((0, *layout.counts))
    return rows.table(0, len(rows), width)[:, [firsts[layout.names.index(name)] for name in wanted]]


def _binary_table(
    data: bytes, start: int, layout: _Layout
) -> NDArray[np.void] | dict[str, NDArray[np.generic]]:
    """The values of each field by its number: (points, count)."""
    size = layout.points * layout.dtype.itemsize
    if layout.encoding == "binary":
        if size > len(data) - start:
            raise _wrong(layout, f"{len(data) - start:,} of {size:,} bytes follow", True)
        return np.frombuffer(data, layout.dtype, layout.points, start)
    if len(data) - start < 8:
        raise _wrong(layout, "nothing follows", True)
    packed, unpacked = struct.unpack_from("<II", data, start)
    content = np.frombuffer(data, np.uint8)[start + 8 : start + 8 + packed]
    if len(content) < packed or unpacked != size or size > packed * _LZF_RATIO:
        text = f"{len(content):,} of {packed:,} bytes follow, to unpack to {unpacked:,}"
        raise _wrong(layout, text, len(content) < packed)
    plain = np.empty(size, dtype=np.uint8)
    if not _unpack_lzf(content, plain):
        raise _wrong(layout, "what follows is no LZF stream of that length", False)
    fields: dict[str, NDArray[np.generic]] = {}
    position = 0
    for i, (kind, count) in enumerate(zip(layout.types, layout.counts, strict=True)):
        values = np.frombuffer(plain, np.dtype(kind), layout.points * count, position)
        fields[f"{i}"] = values.reshape(layout.points, count)
        position += values.nbytes
    return fields


def _wrong(layout: _Layout, arrived: str, truncated: bool) -> ShapeError:
    return ShapeError(
        f"announces {layout.points:,} points ({layout.encoding}), but {arrived}; the file is "
        f"{'truncated' if truncated else 'damaged'}: restore it"
    )


@njit(cache=True)
def _unpack_lzf(packed: NDArray[np.uint8], plain: NDArray[np.uint8]) -> bool:
    """Unpack LZF (M. Lehmann, liblzf); whether the stream is whole and fills ``plain`` exactly."""
    i = 0
    o = 0
    while i < len(packed):
        control = int(packed[i])
        i += 1
        if control < 32:  # that many bytes and one more, as they are
            length = control + 1
            if i + length > len(packed) or o + length > len(plain):
                return False
            for j in range(length):
                plain[o + j] = packed[i + j]
            i += length
        else:  # a repetition of what was unpacked before, perhaps overlapping itself
            length = control >> 5
            if length == 7:
                if i >= len(packed):
                    return False
                length += int(packed[i])
                i += 1
            length += 2
            if i >= len(packed):
                return False
            source = o - ((control & 31) << 8) - int(packed[i]) - 1
            i += 1
            if source < 0 or o + length > len(plain):
                return False
            for j in range(length):
                plain[o + j] = plain[source + j]
        o += length
    return o == len(plain)
