"""CIFAR-10, from its pickled batches, read without unpickling code."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import tarfile
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from batchot.data.samples import Images, Splits
from batchot.data.sets.pictures import load_image_folder
from batchot.data.sets.places import download_file, missing_data, search_places
from batchot.errors import DataError, DownloadError

# A pickle names the functions that rebuild its objects. None of numpy's is called: given a forged dtype they
# take bytes of the file for addresses in memory. The stand-ins below only note what the file says.


class _Dtype:
    """Stand-in for ``numpy.dtype``, of which only bytes are admitted."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if code not in ("u1", b"u1"):
            raise DataError(f"expected an array of bytes (u1), got one of {code!r}")

    def __setstate__(self, state: object) -> None:
        """Bytes have no byte order and no fields, which is what the state would tell."""


class _Array:
    """Stand-in for ``numpy.ndarray``; ``array`` is what it stands for."""

    array: NDArray[np.uint8]

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, fortran_order, content = state
        if not (
            isinstance(dtype, _Dtype) and isinstance(content, bytes) and math.prod(shape) == len(content)
        ):
            raise ValueError(f"an array of shape {shape} with other than as many bytes")
        self.array = np.frombuffer(content, dtype=np.uint8).reshape(
            shape, order="F" if fortran_order else "C"
        )


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    """Stand-in for ``numpy.core.multiarray._reconstruct``, which makes an array whose state comes next."""
    return _Array()


def _encode(text: str, encoding: str | bytes) -> bytes:
    """Stand-in for ``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", b"latin1"):
        raise DataError(f"refused to encode with {encoding!r}: bytes in a pickle are written as latin1")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return _reconstruct
            case "numpy", "ndarray":
                return _Array
            case "numpy", "dtype":
                return _Dtype
            case "_codecs", "encode":
                return _encode
        raise DataError(
            f"refused to load {module}.{name}: only dictionaries, lists, numbers, strings and arrays of bytes "
            "are read from a pickle, because anything else could run a program"
        )


def unpickle_arrays(content: bytes, source: str) -> dict[str, Any]:
    """Load a pickled dictionary that may hold only lists, numbers, strings and arrays of bytes."""
    try:
        loaded = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        return {
            name.decode() if isinstance(name, bytes) else name: value.array
            if isinstance(value, _Array)
            else value
            for name, value in loaded.items()
        }
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
    # A damaged pickle is a random program for the unpickler: it may fail in any way.
    except Exception as error:
        raise DataError(
            f"{source} is damaged or half downloaded: expected a pickled dictionary of arrays, but of "
            f"{len(content):,} bytes that arrived reading stopped ({type(error).__name__}: {error}). "
            "Delete it and run again, or download it again."
        ) from error


URLS = ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",)
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_BYTES = 170_498_071
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
BATCH_FOLDER = "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6))
TEST_BATCHES = ("test_batch",)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
TRAIN_COUNT, TEST_COUNT = 50_000, 10_000


def load_cifar10(root: Path | None = None, *, download: bool = True) -> Splits:
    """Load CIFAR-10 (A. Krizhevsky, 2009): its batches, their archive or class folders, else from the network."""
    places = search_places("cifar10", root)
    for folder in places:
        if (splits := _load_from(folder)) is not None:
            if (len(splits.train), len(splits.test)) != (TRAIN_COUNT, TEST_COUNT):
                warnings.warn(
                    f"{folder} holds {len(splits.train):,} training and {len(splits.test):,} test images, CIFAR-10 "
                    f"{TRAIN_COUNT:,} and {TEST_COUNT:,}: scores on it are not scores on CIFAR-10",
                    stacklevel=2,
                )
            return splits
    contents = f"{BATCH_FOLDER}/, {ARCHIVE}, or train/CLASS/ and test/CLASS/ with images"
    if not download:
        raise missing_data("cifar10", contents, places, "download is switched off")
    try:
        return read_archive(download_file(URLS, ARCHIVE_MD5, places[-1] / ARCHIVE))
    except DownloadError as failure:
        raise missing_data("cifar10", contents, places, str(failure)) from failure


def _load_from(folder: Path) -> Splits | None:
    for batches in (folder / BATCH_FOLDER, folder):
        if any((batches / name).is_file() for name in TRAIN_BATCHES + TEST_BATCHES):
            return read_batch_folder(batches)
    if (folder / ARCHIVE).is_file():
        return read_archive(folder / ARCHIVE)
    if any((folder / "train" / name).is_dir() for name in CLASSES):
        return read_class_folders(folder)
    return None


def read_class_folders(folder: Path) -> Splits:
    """Read ``train/CLASS/*`` and ``test/CLASS/*`` under ``folder``."""
    for part in ("train", "test"):
        missing = [name for name in CLASSES if not (folder / part / name).is_dir()]
        if missing:
            raise DataError(
                f"{folder / part} is incomplete: expected a folder for each of the ten classes of CIFAR-10, "
                f"missing: {', '.join(missing)}. Unpack it again."
            )
    splits = load_image_folder(folder)
    if splits.train.classes != CLASSES:
        other = ", ".join(sorted(set(splits.train.classes) - set(CLASSES)))
        raise DataError(
            f"{folder} has folders that are no class of CIFAR-10: {other}; move them, or use 'folder'"
        )
    if splits.sample_shape != SHAPE:
        raise DataError(
            f"{folder} holds images of shape {splits.sample_shape} (c, h, w), CIFAR-10's are {SHAPE}"
        )
    return Splits("cifar10", splits.train, splits.test)


def read_batch_folder(folder: Path) -> Splits:
    """Read the official batches from the folder in which they lie unpacked."""
    contents: dict[str, bytes] = {}
    for name in TRAIN_BATCHES + TEST_BATCHES:
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise DataError(
                f"{folder / name} cannot be read ({error}); expected are the six files "
                f"{', '.join(TRAIN_BATCHES + TEST_BATCHES)}. Unpack {ARCHIVE} again."
            ) from error
    return _read_batches(contents, folder)


def read_archive(path: Path) -> Splits:
    """Read the official batches from the archive, in memory: nothing is unpacked on disk."""
    contents: dict[str, bytes] = {}
    advice = f"expected the six batches under {BATCH_FOLDER}/ in a gzip archive of {ARCHIVE_BYTES:,} bytes"
    try:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                wanted = name.parent.name == BATCH_FOLDER and name.name in TRAIN_BATCHES + TEST_BATCHES
                if wanted and member.isfile() and (file := archive.extractfile(member)) is not None:
                    contents[name.name] = file.read()
            # The checksum of the whole stands at the very end, where the reader of the archive does not look.
            while unpacked.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or half downloaded: {advice}, but {path.stat().st_size:,} bytes arrived, "
            f"which end early or are damaged ({error}). Delete it and run again, or download it again."
        ) from error
    missing = [name for name in TRAIN_BATCHES + TEST_BATCHES if name not in contents]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: {advice}. Download it again.")
    return _read_batches(contents, path)


def _read_batches(contents: Mapping[str, bytes], source: Path) -> Splits:
    def joined(names: tuple[str, ...]) -> Images:
        parts = [_read_batch(contents[name], f"{source}/{name}") for name in names]
        labels = torch.cat([part.labels for part in parts])
        return Images(torch.cat([part.images for part in parts]), labels, CLASSES)

    return Splits("cifar10", joined(TRAIN_BATCHES), joined(TEST_BATCHES))


def _read_batch(content: bytes, source: str) -> Images:
    batch = unpickle_arrays(content, source)
    data, labels = batch.get("data"), batch.get("labels")
    pixels = SHAPE[0] * SHAPE[1] * SHAPE[2]
    if not (isinstance(data, np.ndarray) and data.ndim == 2 and data.shape[1] == pixels):
        arrived = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(
            f"{source}: expected 'data', uint8 of shape (10000, {pixels}), got {arrived}; download it again"
        )
    if not (
        isinstance(labels, list) and len(labels) == len(data) and all(label in range(10) for label in labels)
    ):
        arrived = f"{len(labels)} of them" if isinstance(labels, list) else type(labels).__name__
        raise DataError(f"{source}: expected 'labels', {len(data)} integers from 0 to 9, got {arrived}")
    images = torch.from_numpy(data.reshape(-1, *SHAPE).copy())  # (n, 3, 32, 32)
    return Images(images, torch.tensor(labels, dtype=torch.int64), CLASSES)
