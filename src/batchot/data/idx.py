"""The IDX file format, in which MNIST is published."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from batchot.data.errors import DataError

_GZIP_START = b"\x1f\x8b"
_UINT8_CODE = 0x08


def read_idx(path: Path, ndim: int) -> Tensor:
    """Read a file of unsigned bytes in the IDX format, packed with gzip or not.

    The file is a magic number (two zero bytes, the code 8 for unsigned bytes, the number of dimensions), one
    big-endian 32-bit size a dimension, then the elements. All of it is verified.

    Args:
        path: the file; packed or not is seen from its first bytes, whatever its name says.
        ndim: dimensions that it must have: 1 for labels, 3 for images.

    Returns:
        The array, uint8, of the shape that the header says.

    Raises:
        DataError: when the file is truncated, damaged or something else, with what was expected and what
            arrived.

    Source:
        Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, section "File formats".

    Example:
        >>> import tempfile
        >>> from batchot.data.idx import read_idx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "labels"
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        ...     read_idx(path, ndim=1)
        tensor([7, 2, 1], dtype=torch.uint8)
    """
    magic = _UINT8_CODE << 8 | ndim
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if content.startswith(_GZIP_START):
        content = _decompress(path, content, magic)
    header = np.frombuffer(content[: 4 + 4 * ndim], dtype=">u4") if len(content) >= 4 + 4 * ndim else None
    if header is None or header[0] != magic:
        raise _damaged(path, f"an IDX file that starts with the magic number {magic}", _start_of(content))
    shape = tuple(int(size) for size in header[1:])
    expected = header.nbytes + math.prod(shape)
    if len(content) != expected:
        sizes = " x ".join(f"{size:,}" for size in shape)
        raise _damaged(
            path, f"{expected:,} bytes for {sizes} elements (unpacked)", f"{len(content):,} bytes arrived"
        )
    return torch.from_numpy(
        np.frombuffer(content, dtype=np.uint8, offset=header.nbytes).reshape(shape).copy()
    )


def _decompress(path: Path, packed: bytes, magic: int) -> bytes:
    try:
        return gzip.decompress(packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(
            path,
            f"a whole gzip file of an IDX file with the magic number {magic}",
            f"{len(packed):,} packed bytes arrived, which end early or are damaged ({error})",
        ) from error


def _start_of(content: bytes) -> str:
    if len(content) < 4:
        return f"{len(content)} bytes arrived"
    number = int.from_bytes(content[:4], "big")
    return f"{len(content):,} bytes arrived that start with {number} ({content[:12]!r})"


def _damaged(path: Path, expected: str, arrived: str) -> DataError:
    return DataError(
        f"{path} is damaged or half downloaded: expected {expected}, but {arrived}. "
        "Delete it and run again, or download it again."
    )
