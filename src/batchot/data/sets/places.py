"""Where data lies: folders, archives, downloads with checksums, and arrays kept on disk."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np
import pooch
import requests
from numpy.typing import NDArray

from batchot.errors import DataError, DownloadError, RunError, ShapeError
from batchot.files import DAMAGED_ARCHIVE, write_atomically
from batchot.shapes.formats.archives import open_archive

logger = logging.getLogger(__name__)


def download_file(urls: tuple[str, ...], checksum: str, path: Path, *, timeout: float = 30.0) -> Path:
    """Download a file from the first mirror that gives it whole."""
    algorithm = "sha256" if len(checksum) == 64 else "md5"
    if path.is_file() and pooch.file_hash(str(path), alg=algorithm) == checksum:
        return path
    failures: list[str] = []
    for url in urls:
        try:
            pooch.retrieve(
                url,
                known_hash=f"{algorithm}:{checksum}",
                fname=path.name,
                path=path.parent,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=timeout),
            )
            return path
        # pooch tells of a wrong checksum with ValueError.
        except (requests.RequestException, ValueError) as error:
            logger.warning("%s: %s", url, error)
            failures.append(f"  {url}: {error}")
        except OSError as error:
            raise DownloadError(
                f"{path} cannot be written: {error}; make room or set another cache folder"
            ) from error
    raise DownloadError(
        f"download of {path.name} was attempted and failed (is there a network?):\n" + "\n".join(failures)
    )


DATA_ROOT_VARIABLE = "BATCHOT_DATA"


def cache_folder() -> Path:
    """The user's cache folder of this package; it need not exist yet."""
    return Path(pooch.os_cache("batchot"))


def search_places(name: str, data_root: Path | None) -> list[Path]:
    """Folders in which the data set ``name`` may lie, best first; the last one is where downloads go."""
    roots: list[tuple[str, Path]] = []
    if data_root is not None:
        roots.append(("--data-root", Path(data_root)))
    if from_environment := os.environ.get(DATA_ROOT_VARIABLE):
        roots.append((DATA_ROOT_VARIABLE, Path(from_environment)))
    for said_by, root in roots:
        if not root.is_dir():
            raise DataError(
                f"{said_by} names {root}, which is not a folder; give the folder that holds {name}/, "
                f"or leave {said_by} out to look in {cache_folder()}"
            )
    places = [place for _, root in roots for place in (root / name, root)]
    return [*places, cache_folder() / name]


def missing_data(name: str, contents: str, places: list[Path], download_failure: str) -> DataError:
    """The error for a data set that is nowhere."""
    looked_at = "\n".join(f"  {place}" for place in places)
    return DataError(
        f"{name} was not found: looked for {contents} in\n{looked_at}\n"
        f"and it was not downloaded: {download_failure}.\n"
        f"If you have it, give its folder with --data-root FOLDER or set {DATA_ROOT_VARIABLE}=FOLDER."
    )


def list_archive(path: Path) -> list[str]:
    try:
        return open_archive(path).namelist()
    except (OSError, zipfile.BadZipFile, ShapeError) as error:
        raise DataError(
            f"{path} is damaged or half downloaded ({error}, {path.stat().st_size:,} bytes are there). "
            "Delete it and run again, or download it again."
        ) from error


def is_clutter(place: PurePath) -> bool:
    """Whether a file is hidden, or was left by another machine."""
    return any(part.startswith(".") or part == "__MACOSX" for part in place.parts)


def file_state(path: Path) -> tuple[int, int, int] | None:
    """Size and times of a file, which tell whether it has changed; ``None`` where it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    # The last of these changes even where a program sets the other two back.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def fingerprint(version: int, files: Iterable[tuple[Path, tuple[object, ...]]]) -> str:
    """Changes with the version, the files, what is said of each, and what is in them."""
    digest = hashlib.sha256(str(version).encode())
    states: dict[Path, tuple[int, int, int] | None] = {}
    for path, said in files:
        if path not in states:
            states[path] = file_state(path)
        digest.update(repr((*said, states[path])).encode(errors="surrogateescape"))
    return digest.hexdigest()


Scalar = TypeVar("Scalar", bound=np.generic)


def cached_array(name: str, fingerprint: str, build: Callable[[], NDArray[Scalar]]) -> NDArray[Scalar]:
    """The array that ``build`` makes, from the cache folder when it was made before from the same input."""
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
    path = cache_folder() / "decoded" / f"{digest}.npz"
    kept: NDArray[Scalar] | None = _read(path, fingerprint)
    if kept is not None:
        return kept
    array = build()
    try:
        write_atomically(path, lambda file: np.savez(file, fingerprint=np.array(fingerprint), array=array))
    except RunError as error:
        logger.info("decoded files are not kept: %s", error)
    return array


def _read(path: Path, fingerprint: str) -> NDArray[Scalar] | None:
    try:
        # The zip container has a checksum for each array, which is verified as it is read.
        with np.load(path, allow_pickle=False) as archive:
            if str(archive["fingerprint"]) != fingerprint:
                return None
            array: NDArray[Scalar] = archive["array"]
    except DAMAGED_ARCHIVE:
        return None
    return array
