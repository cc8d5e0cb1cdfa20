"""NPY files by the ten thousand: their headers are alike, and parsing one takes longer than reading the file."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def parse_npy(content: bytes) -> NDArray[np.float32] | None:
    """The points in an NPY file, if it is an ordinary one.

    Args:
        content: of the file.

    Returns:
        Points, float32 ``(p, 3)``, read-only; ``None`` where it is not an array ``(p, 3)`` of floats, or not
        whole: then ``read_shape`` says what is wrong with it, or reads it in spite of that.

    Example:
        >>> from batchot.shapes.npy import parse_npy
        >>> file = io.BytesIO()
        >>> np.save(file, np.eye(3))
        >>> parse_npy(file.getvalue()).shape, parse_npy(file.getvalue()[:-1])
        ((3, 3), None)
    """
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
