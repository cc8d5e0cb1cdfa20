"""Point clouds: text and NumPy files, PCD and HDF5."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.errors import ShapeError, require
from batchot.shapes.formats.numbers import read_rows, without_marks
from batchot.shapes.formats.table import read_table
from batchot.shapes.shape import Bytes, Floats, PointCloud, finite_cloud


def parse_npy(content: bytes) -> NDArray[np.float32] | None:
    """The points in an NPY file, if it is an ordinary one."""
    try:
        shape, fortran_order, dtype, start = _npy_header(content)
    except ShapeError:
        return None
    if len(shape) != 2 or shape[1] != 3 or fortran_order or dtype.kind != "f":
        return None
    if len(content) != start + shape[0] * 3 * dtype.itemsize:
        return None
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(np.float32, copy=False)


_MAX_COLUMNS = 10  # coordinates, normal and colour; with more, it is a transposed or another array
_UNIT = 0.02  # how far from 1 the length of a normal may be, for what was rounded to two digits


def cloud_of_columns(columns: NDArray[Any]) -> PointCloud:
    """A cloud from x, y, z and what follows: three columns of unit vectors are normals, anything else is colour."""
    points = columns[:, :3]
    if columns.shape[1] == 6 and len(columns):
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(np.asarray(columns[:, 3:], dtype=np.float64), axis=1)
            is_unit = np.abs(lengths - 1) <= _UNIT
            unknown = (lengths == 0) | np.isnan(lengths)  # what estimators write where they could not tell
            pure = (
                (columns[:, 3:] == 0) | (columns[:, 3:] == 1)
            ).all()  # red, green, blue: of a box some are below 0
        if is_unit.any() and (is_unit | unknown).all() and not pure:
            return cloud_with_normals(points, columns[:, 3:])
    return finite_cloud(points)


def cloud_with_normals(points: NDArray[Any], normals: NDArray[Any]) -> PointCloud:
    """A cloud whose normals are scaled to length 1; zero where they are zero or not finite."""
    directions = np.where(np.isfinite(normals).all(axis=1, keepdims=True), normals, 0.0)
    largest = np.abs(directions).max(axis=1, keepdims=True)
    directions = directions / np.where(largest > 0, largest, 1.0)  # squares neither overflow nor vanish
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    return finite_cloud(points, directions / np.where(lengths > 0, lengths, 1.0))


def read_npy(data: bytes) -> PointCloud:
    """The cloud of points in the content of an NPY file of (n, 3), or of (n, 6) with normals."""
    shape, fortran, dtype, start = _npy_header(data)
    if dtype.hasobject:
        raise ShapeError("holds pickled Python objects, which could run code; save a plain array of numbers")
    if len(shape) != 2 or shape[0] < 0 or not 3 <= shape[1] <= _MAX_COLUMNS or dtype.kind not in "fiu":
        hint = ", perhaps transposed" if len(shape) == 2 and shape[0] in (3, 6) else ""
        raise ShapeError(
            f"holds {shape} of {dtype}{hint}; an array of points is (n, 3), or (n, 6) with normals"
        )
    size = shape[0] * shape[1] * dtype.itemsize
    if size > len(data) - start:
        raise ShapeError(
            f"announces {shape[0]:,} x {shape[1]} numbers ({size:,} bytes), but {len(data) - start:,} bytes follow; "
            "the file is truncated: restore it"
        )
    flat = np.frombuffer(data, dtype, shape[0] * shape[1], start)
    return cloud_of_columns(flat.reshape(shape, order="F" if fortran else "C"))


def _npy_header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    width = 2 if data[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    return *_parsed_header(data[:start]), start


@lru_cache(maxsize=1024)
def _parsed_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        return read(stream)
    except Exception as error:  # the header is Python source, and a damaged one fails in any way
        raise ShapeError(
            f"the header of the NPY file is damaged ({type(error).__name__}: {error}); restore the file"
        ) from error


def read_text_points(data: bytes) -> PointCloud:
    """The cloud of points in text: a point a line, as XYZ, PTS, CSV and most TXT files have it."""
    columns, named = read_table(without_marks(data))
    if not named:
        return cloud_of_columns(columns)
    return (
        finite_cloud(columns) if columns.shape[1] == 3 else cloud_with_normals(columns[:, :3], columns[:, 3:])
    )


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
    layout, start = _pcd_header(data)
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


def _pcd_header(data: bytes) -> tuple[_Layout, int]:
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
        width, height = (int(entries[side][0]) if side in entries else 1 for side in ("WIDTH", "HEIGHT"))
        points = int(entries["POINTS"][0]) if "POINTS" in entries else width * height
        encoding = entries["DATA"][0].lower()
        right = len(names) == len(types) == len(counts) and min(counts) > 0 and points >= 0
    except (KeyError, ValueError, IndexError):
        right = False
    if not right or encoding not in ("ascii", "binary", "binary_compressed") or sum(counts) > 10_000:
        said = ("VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "POINTS", "DATA")
        shown = {key: " ".join(entries[key])[:40] for key in said if key in entries}
        raise ShapeError(f"the header of the PCD file is not understood: {shown}; restore the file")
    return _Layout(names, types, counts, points, encoding), start


def _text_columns(data: bytes, start: int, layout: _Layout, wanted: list[str]) -> Floats:
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
def _unpack_lzf(packed: Bytes, plain: Bytes) -> bool:
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


_MAX_RATIO = 1100  # no filter of HDF5 packs better than gzip at its best


def read_hdf5(source: bytes | Path, member: int | None) -> PointCloud:
    """One cloud of an HDF5 file, with normals if the file has the data set ``normal``."""
    with opened_hdf5(source) as file:
        points = hdf5_dataset(file, "data")
        n = points.shape[0]
        if member is None and n != 1:
            raise ShapeError(f"holds {n:,} clouds; say which with member=0 to {n - 1}")
        index = member or 0
        if not 0 <= index < n:
            raise ShapeError(f"has no member {index}; its {n:,} clouds are 0 to {n - 1}")
        if "normal" in file and hdf5_dataset(file, "normal").shape == points.shape:
            return cloud_with_normals(points[index], file["normal"][index])
        return finite_cloud(points[index])


@contextmanager
def opened_hdf5(source: bytes | Path) -> Iterator[Any]:
    """The open file; whatever h5py raises while it is in use becomes a ``ShapeError``."""
    h5py = require("h5py")
    try:
        with h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as file:
            yield file
    except (ShapeError, ImportError):
        raise
    except Exception as error:  # h5py passes on what its C library says in half a dozen types
        raise ShapeError(f"cannot be read as HDF5 ({error}); the file is damaged: restore it") from error


def hdf5_dataset(file: Any, name: str) -> Any:
    """The data set of that name, (n, points, 3) of floats or the labels, if it lies in the file itself."""
    h5py = require("h5py")
    # A link or a data set may name another file on disk, which a file from elsewhere has no business to.
    link = file.get(name, getlink=True)
    dataset = file.get(name) if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise ShapeError(
            f"has no data set {name!r} of its own (it has {sorted(file)[:8]}); see the layout expected"
        )
    if name != "label" and (dataset.ndim != 3 or dataset.shape[2] != 3 or dataset.dtype.kind != "f"):
        raise ShapeError(f"{name!r} is {dataset.shape} of {dataset.dtype}, expected (n, points, 3) of floats")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > stored * _MAX_RATIO:
        raise ShapeError(
            f"{name!r} should be {dataset.nbytes:,} bytes, of which {stored:,} are stored (packed); the file is "
            "damaged: restore it"
        )
    return dataset
