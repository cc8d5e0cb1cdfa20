"""Clouds of points: NPY arrays and text."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.shapes.errors import ShapeError
from batchot.shapes.read_numbers import Rows, read_rows
from batchot.shapes.shape import PointCloud

_MAX_COLUMNS = 10  # coordinates, normal and colour; with more, it is a transposed or another array
_UNIT = 0.02  # how far from 1 the length of a normal may be, for what was rounded to two digits


def cloud_of_columns(columns: NDArray[Any]) -> PointCloud:
    """A cloud from x, y, z and what follows: three columns of unit vectors are normals, anything else is colour.

    Args:
        columns: (n, 3 or more).

    Returns:
        The cloud; its normals are ``None`` where there are no unit vectors.

    Raises:
        ShapeError: no points, or coordinates that are not finite.

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.read_points import cloud_of_columns
        >>> cloud_of_columns(np.array([[0, 0, 0, 0, 0, 1]])).normals
        array([[0., 0., 1.]])
    """
    points = columns[:, :3]
    if columns.shape[1] == 6 and len(columns):
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(np.asarray(columns[:, 3:], dtype=np.float64), axis=1)
            is_unit = np.abs(lengths - 1) <= _UNIT
            unknown = (lengths == 0) | np.isnan(lengths)  # what estimators write where they could not tell
        if is_unit.any() and (is_unit | unknown).all():
            return cloud_with_normals(points, columns[:, 3:])
    return PointCloud(points)


def cloud_with_normals(points: NDArray[Any], normals: NDArray[Any]) -> PointCloud:
    """A cloud whose normals are scaled to length 1; zero where they are zero or not finite.

    Example:
        >>> import numpy as np
        >>> from batchot.shapes.read_points import cloud_with_normals
        >>> cloud_with_normals(np.eye(2, 3), np.array([[0, 0, 2], [np.nan, 0, 1]])).normals.tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    directions = np.where(np.isfinite(normals).all(axis=1, keepdims=True), normals, 0.0)
    largest = np.abs(directions).max(axis=1, keepdims=True)
    directions = directions / np.where(largest > 0, largest, 1.0)  # squares neither overflow nor vanish
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    return PointCloud(points, directions / np.where(lengths > 0, lengths, 1.0))


def read_npy(data: bytes) -> PointCloud:
    """The cloud of points in the content of an NPY file of (n, 3), or of (n, 6) with normals.

    Args:
        data: the content of the file.

    Returns:
        The cloud.

    Raises:
        ShapeError: truncated, pickled, or of another shape.

    Source:
        numpy.lib.format, "NPY format".

    Example:
        >>> import io
        >>> import numpy as np
        >>> from batchot.shapes.read_points import read_npy
        >>> file = io.BytesIO()
        >>> np.save(file, np.eye(3, dtype=np.float32))
        >>> read_npy(file.getvalue()).points.shape
        (3, 3)
    """
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
            "the file is truncated or damaged: restore it"
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
    """The cloud of points in text: a point a line, as XYZ, PTS, CSV and most TXT files have it.

    Numbers are separated by white space, commas or semicolons. A first line with the number of points (PTS) is
    checked against the points; a first line of names of columns is passed over.

    Args:
        data: the content of the file.

    Returns:
        The cloud; columns 4 to 6 of six are its normals if they are unit vectors.

    Raises:
        ShapeError: naming the line that is no point.

    Example:
        >>> from batchot.shapes.read_points import read_text_points
        >>> read_text_points(b"2\\n0 0 0\\n1,2,3").points.tolist()
        [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
    """
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    first_line = data[start:].split(b"\n", 1)[0].strip()
    if first_line[:1].isalpha() and first_line[:3].lower() not in (b"nan", b"inf"):
        start = data.index(first_line) + len(first_line)
    rows = read_rows(data, start)
    first = _check_count(rows)
    columns = rows.columns[first:]
    if len(columns) == 0:
        raise ShapeError("there are no points; restore the file")
    width = int(columns[0])
    if width < 3 or (columns != width).any():
        wrong = int((columns != width).argmax())
        raise ShapeError(
            f"row {wrong} of numbers has {columns[wrong]}, row 0 has {width}; every point is x y z and as many more "
            "numbers as the others: the file is truncated or damaged, restore it"
        )
    return cloud_of_columns(rows.table(first, len(rows), width))


def _check_count(rows: Rows) -> int:
    """The row at which points begin: 1 if row 0 is their number."""
    if len(rows) < 2 or rows.starts[1] != 1:
        return 0
    if rows.values[0] != len(rows) - 1:
        raise ShapeError(
            f"announces {rows.values[0]:g} points, but {len(rows) - 1:,} follow; the file is truncated or damaged: "
            "restore it"
        )
    return 1
