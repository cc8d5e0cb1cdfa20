"""Clouds of points: NPY arrays and text."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.shapes.errors import ShapeError
from batchot.shapes.read_table import read_table
from batchot.shapes.shape import PointCloud, finite_cloud

_MAX_COLUMNS = 10  # coordinates, normal and colour; with more, it is a transposed or another array
_UNIT = 0.02  # how far from 1 the length of a normal may be, for what was rounded to two digits


def cloud_of_columns(columns: NDArray[Any]) -> PointCloud:
    """A cloud from x, y, z and what follows: three columns of unit vectors are normals, anything else is colour.

    Args:
        columns: (n, 3 or more).

    Returns:
        The cloud; its normals are ``None`` where there are no unit vectors.

    Raises:
        ShapeError: no points, or none that is finite.

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
    return finite_cloud(points)


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
    return finite_cloud(points, directions / np.where(lengths > 0, lengths, 1.0))


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
    """The cloud of points in text: a point a line, as XYZ, PTS, CSV and most TXT files have it.

    A first line of names, also as a comment, says which columns are x, y, z and the normal, whatever their order;
    columns of another name are passed over, whatever is in them. Without names the first three are x, y, z, except
    where the first of more than three does nothing but count. Empty fields and ``nan`` are points that were not
    measured, which are left out. A first line with the number of points (PTS) is checked against the points.

    Args:
        data: the content of the file.

    Returns:
        The cloud; without names, columns 4 to 6 of six are its normals if they are unit vectors.

    Raises:
        ShapeError: naming the line that is no point.

    Example:
        >>> from batchot.shapes.read_points import read_text_points
        >>> read_text_points(b"2\\n0 0 0\\n1,2,3").points.tolist()
        [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
        >>> read_text_points(b"id;z;y;x\\n7;3,5;2,5;1,5").points.tolist()
        [[1.5, 2.5, 3.5]]
    """
    columns, named = read_table(data)
    if not named:
        return cloud_of_columns(columns)
    return (
        finite_cloud(columns) if columns.shape[1] == 3 else cloud_with_normals(columns[:, :3], columns[:, 3:])
    )
