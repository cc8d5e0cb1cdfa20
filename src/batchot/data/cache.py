"""Arrays kept on disk, so that tens of thousands of files are decoded once, not at every start."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from batchot.data.sets.places import cache_folder

logger = logging.getLogger(__name__)

Scalar = TypeVar("Scalar", bound=np.generic)


def cached_array(name: str, fingerprint: str, build: Callable[[], NDArray[Scalar]]) -> NDArray[Scalar]:
    """The array that ``build`` makes, from the cache folder when it was made before from the same input."""
    path = cache_folder() / "decoded" / f"{_digest(name)}.npz"
    kept: NDArray[Scalar] | None = _read(path, fingerprint)
    if kept is not None:
        return kept
    array = build()
    try:
        _write(path, fingerprint, array)
    except OSError as error:
        logger.info("decoded files are not kept, %s cannot be written: %s", path, error)
    return array


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]


def _read(path: Path, fingerprint: str) -> NDArray[Scalar] | None:
    try:
        # The zip container has a checksum for each array, which is verified as it is read.
        with np.load(path, allow_pickle=False) as archive:
            if str(archive["fingerprint"]) != fingerprint:
                return None
            array: NDArray[Scalar] = archive["array"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return array


def _write(path: Path, fingerprint: str, array: NDArray[Scalar]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as file:
        try:
            np.savez(file, fingerprint=np.array(fingerprint), array=array)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
