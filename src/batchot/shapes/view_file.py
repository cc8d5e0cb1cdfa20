"""The file of the views of one shape: a ``.npy`` file with a checksum behind it.

``numpy.load`` reads it like any other, because it stops where the array ends.
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchot.shapes.atomic import write_whole

ViewShape = tuple[int, int, int, int]
_CHECKSUM_BYTES = 32


class DamagedViewsError(ValueError):
    """A file of views is cut short, was changed or holds views of another shape.

    Example:
        >>> from batchot.shapes.view_file import DamagedViewsError
        >>> issubclass(DamagedViewsError, ValueError)
        True
    """


@cache
def npy_header(shape: ViewShape) -> bytes:
    """The bytes before the pixels in the ``.npy`` file of views of this shape."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def file_size(shape: ViewShape) -> int:
    """Bytes of the file of views of this shape.

    Example:
        >>> from batchot.shapes.view_file import file_size
        >>> file_size((12, 1, 224, 224))
        602272
    """
    v, c, h, w = shape
    return len(npy_header(shape)) + v * c * h * w + _CHECKSUM_BYTES


def write_views(path: Path, views: NDArray[np.uint8], temporary: Path | None = None) -> None:
    """Write the views of a shape, whole or not at all.

    Args:
        path: of the file.
        views: pixels, shape ``(v, c, h, w)``.
        temporary: where the file is written before it gets its name.

    Raises:
        ViewCacheError: the disk is full or not writable.

    Example:
        >>> import tempfile
        >>> from batchot.shapes.view_file import read_views, write_views
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.npy"
        ...     write_views(path, np.full((1, 1, 2, 2), 7, np.uint8))
        ...     read_views(path, (1, 1, 2, 2)).tolist(), np.load(path).sum()
        ([[[[7, 7], [7, 7]]]], np.uint64(28))
    """
    v, c, h, w = views.shape
    views = np.ascontiguousarray(views, np.uint8)
    header = npy_header((v, c, h, w))
    write_whole(path, [header, views.data, _checksum(header, views)], temporary)


def read_views(path: Path, shape: ViewShape) -> NDArray[np.uint8]:
    """Read the views of a shape and check them.

    Args:
        path: of the file.
        shape: that they are to have, ``(v, c, h, w)``.

    Returns:
        Pixels.

    Raises:
        DamagedViewsError: they are not as they were written, or of another shape.
        OSError: there is no such file, or it may not be read.
    """
    views = np.empty(shape, np.uint8)
    read_views_into(path, views)
    return views


def read_views_into(path: Path, views: NDArray[np.uint8], check: bool = True) -> None:
    """Read the views of a shape to where they are wanted, which saves a copy.

    Args:
        path: of the file.
        views: filled with the pixels, contiguous, ``(v, c, h, w)``.
        check: compare the checksum, which doubles the time; otherwise only the size and the header.

    Raises:
        DamagedViewsError: they are not as they were written, or of another shape.
        OSError: there is no such file, or it may not be read.
    """
    v, c, h, w = views.shape
    header = npy_header((v, c, h, w))
    with open(path, "rb", buffering=0) as file:
        found = file.read(len(header))
        n_pixels = file.readinto(views.data.cast("B"))
        rest = file.read(_CHECKSUM_BYTES + 1)
    if found != header or n_pixels != views.nbytes or len(rest) != _CHECKSUM_BYTES:
        raise DamagedViewsError(f"{path} is damaged, or does not hold views of shape {views.shape}")
    if check and rest != _checksum(header, views):
        raise DamagedViewsError(f"{path} is damaged: its checksum is not that of its content")


def is_whole(path: Path, shape: ViewShape, check: bool = False) -> bool:
    """Whether a file of views is there and has the right size; with ``check`` it is read and compared."""
    try:
        if path.stat().st_size != file_size(shape):
            return False
        if check:
            read_views(path, shape)
    except (OSError, DamagedViewsError):
        return False
    return True


def _checksum(header: bytes, views: NDArray[np.uint8]) -> bytes:
    checksum = hashlib.sha256(header)
    checksum.update(views.data)
    return checksum.digest()
