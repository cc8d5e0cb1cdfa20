"""Points from text and NumPy files."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.formats.table import read_table
from batchot.shapes.shape import PointCloud, finite_cloud


def parse_npy(content: bytes) -> NDArray[np.float32] | None:
    """The points in an NPY file, if it is an ordinary one."""
    if content[:6] != b"\x93NUMPY" or content[6:7] not in (b"\x01", b"\x02"):
        return None
    width = 2 if content[6] == 1 else 4
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    try:
        shape, fortran_order, dtype = _header(content[:start])
    except ValueError:
        return None
    if len(shape) != 2 or shape[1] != 3 or fortran_order or dtype.kind != "f":
        return None
    if len(content) != start + shape[0] * 3 * dtype.itemsize:
        return None
    points = np.frombuffer(content, dtype, offset=start).reshape(shape).astype(np.float32, copy=False)
    return points


@lru_cache(maxsize=1024)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


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
        if is_unit.any() and (is_unit | unknown).all():
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
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    except Exception as error:  # the header is Python source, and a damaged one fails in any way
        raise ShapeError(
            f"the header of the NPY file is damaged ({type(error).__name__}: {error}); restore the file"
        ) from error
    return shape, fortran, dtype, stream.tell()


def read_text_points(data: bytes) -> PointCloud:
    """The cloud of points in text: a point a line, as XYZ, PTS, CSV and most TXT files have it."""
    columns, named = read_table(data)
    if not named:
        return cloud_of_columns(columns)
    return (
        finite_cloud(columns) if columns.shape[1] == 3 else cloud_with_normals(columns[:, :3], columns[:, 3:])
    )
