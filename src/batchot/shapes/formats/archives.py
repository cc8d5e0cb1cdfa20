"""Shapes inside zip archives and HDF5 files, read in place."""

from __future__ import annotations

import os
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.formats.points import hdf5_dataset, opened_hdf5

HDF5_ENDINGS = frozenset({".h5", ".hdf5"})
MAX_MEMBER_BYTES = 2 << 30
_MOST_CLOUDS_BYTES = 8 << 30


def read_member(path: Path, member: str) -> bytes:
    """The bytes of one file of a zip archive, verified by the checksum that the archive has of it."""
    try:
        archive = open_archive(path)
        size = archive.getinfo(member).file_size
        if size > MAX_MEMBER_BYTES:
            raise ShapeError(
                f"{path}/{member} unpacks to {size:,} bytes, more than {MAX_MEMBER_BYTES:,} are not read"
            )
        return archive.read(member)
    except KeyError:
        raise ShapeError(f"{path} holds no {member}; the archive was changed or is another one") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ShapeError(
            f"{path}/{member} cannot be read ({error}); download or pack the archive again"
        ) from error


def read_row(path: Path, member: str) -> NDArray[np.float32]:
    """One cloud of an HDF5 file in the layout of ``modelnet40_ply_hdf5_2048``."""
    file, number = split_row(member)
    state = _state(path)
    rows = _rows(path, file, "data", *state)
    if number >= len(rows):
        raise ShapeError(f"{path}/{member}: there are {len(rows)} clouds; the file was changed")
    normals = _rows(path, file, "normal", *state)
    return np.hstack([rows[number], normals[number]]) if normals.shape == rows.shape else rows[number]


def split_row(member: str) -> tuple[str | None, int]:
    """The HDF5 file in an archive, if in one, and the number of the cloud in it, of a row's ``member``."""
    file, _, number = member.rpartition("#")
    if not number.isdecimal():
        raise ShapeError(f"{member!r} names no cloud of an HDF5 file; expected a number, such as '17'")
    return file or None, int(number)


def hdf5_rows(path: Path, member: str | None = None) -> NDArray[np.float32]:
    """All clouds of an HDF5 file; the last few files asked for stay in memory."""
    return _rows(path, member, "data", *_state(path))


def hdf5_labels(path: Path, member: str | None = None) -> NDArray[np.int64]:
    """The class of each cloud of an HDF5 file, int64 ``(n,)``."""
    labels = _read(path, member, "label")
    if labels.dtype.kind not in "iu" or labels.size != len(labels):
        shown = path if member is None else f"{path}/{member}"
        raise ShapeError(f"{shown}: 'label' must be (n, 1) whole numbers, got {labels.dtype} {labels.shape}")
    return labels.reshape(-1).astype(np.int64)


def read_hdf5_clouds(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All clouds (n, points, 3) of an HDF5 file with the data sets ``data`` and ``label``, and labels (n,)."""
    path = Path(path)
    clouds = np.asarray(_read(path, None, "data", _MOST_CLOUDS_BYTES), dtype=np.float32)
    labels = hdf5_labels(path)
    if len(labels) != len(clouds):
        raise ShapeError(f"{path}: has {len(clouds)} clouds and {len(labels)} labels; restore it")
    bad = ~np.isfinite(clouds).all(axis=(1, 2))
    if bad.any():
        raise ShapeError(
            f"{path}: cloud {int(bad.argmax())} has coordinates that are not finite; restore the file"
        )
    return clouds, labels


def count_rows(path: Path) -> int:
    """How many clouds an HDF5 file holds; none of them is read."""
    with opened_hdf5(path) as file:
        return int(hdf5_dataset(file, "data").shape[0])


def forget_rows() -> None:
    """Give back the memory that :func:`hdf5_rows` holds."""
    _rows.cache_clear()


def open_archive(path: Path) -> zipfile.ZipFile:
    """The opened archive, kept open: its list of 25,000 members takes longer to read than a shape."""
    return _open(path, *_state(path), os.getpid())


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ShapeError(f"{path} cannot be read ({error.strerror}); was it moved?") from error
    return status.st_size, status.st_mtime_ns


# The process is a part of the key: a file opened before a fork has one position for both processes.
@lru_cache(maxsize=4)
def _open(path: Path, size: int, changed: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


# Rows are asked for in their order, so that the file before is not needed again.
@lru_cache(maxsize=4)
def _rows(path: Path, member: str | None, name: str, size: int, changed: int) -> NDArray[np.float32]:
    rows = np.asarray(_read(path, member, name), dtype=np.float32)
    rows.setflags(write=False)
    return rows


def _read(path: Path, member: str | None, name: str, most: int = MAX_MEMBER_BYTES) -> NDArray[Any]:
    """A dataset of an HDF5 file; one that a file may lack is empty there."""
    try:
        with opened_hdf5(path if member is None else read_member(path, member)) as file:
            if name == "normal" and name not in file:
                return np.empty((0, 0, 3))
            dataset = hdf5_dataset(file, name)
            if dataset.nbytes > most:
                raise ShapeError(f"{name!r} takes {dataset.nbytes:,} bytes; split it into several files")
            return np.asarray(dataset[()])
    except ShapeError as error:
        raise ShapeError(f"{path if member is None else f'{path}/{member}'}: {error}") from error
