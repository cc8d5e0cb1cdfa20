"""MNIST, from its IDX files."""

from __future__ import annotations

import gzip
import math
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from batchot.data.samples import Images, Splits
from batchot.data.sets.places import download_file, missing_data, search_places
from batchot.errors import DataError, DownloadError, extras_named

_GZIP_START = b"\x1f\x8b"
_UINT8_CODE = 0x08


def read_idx(path: Path, ndim: int) -> Tensor:
    """Read a file of unsigned bytes in the IDX format, packed with gzip or not."""
    magic = _UINT8_CODE << 8 | ndim
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if content.startswith(_GZIP_START):
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            arrived = f"{len(content):,} packed bytes arrived, which end early or are damaged ({error})"
            expected = f"a whole gzip file of an IDX file with the magic number {magic}"
            raise _damaged(path, expected, arrived) from error
    header = np.frombuffer(content[: 4 + 4 * ndim], dtype=">u4") if len(content) >= 4 + 4 * ndim else None
    if header is None or header[0] != magic:
        arrived = f"{len(content):,} bytes arrived"
        if len(content) >= 4:
            arrived += f" that start with {int.from_bytes(content[:4], 'big')} ({content[:12]!r})"
        raise _damaged(path, f"an IDX file that starts with the magic number {magic}", arrived)
    shape = tuple(int(size) for size in header[1:])
    n_bytes = header.nbytes + math.prod(shape)
    if len(content) != n_bytes:
        sizes = " x ".join(f"{size:,}" for size in shape)
        raise _damaged(
            path, f"{n_bytes:,} bytes for {sizes} elements (unpacked)", f"{len(content):,} bytes arrived"
        )
    return torch.from_numpy(
        np.frombuffer(content, dtype=np.uint8, offset=header.nbytes).reshape(shape).copy()
    )


def _damaged(path: Path, expected: str, arrived: str) -> DataError:
    return DataError(
        f"{path} is damaged or half downloaded: expected {expected}, but {arrived}. "
        "Delete it and run again, or download it again."
    )


MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CLASSES = tuple("0123456789")
IMAGE_SIZE = 28


@dataclass(frozen=True)
class OfficialFile:
    """One of the four files: ``stem`` of its name, dimensions, length and checksum as published."""

    stem: str
    ndim: int
    count: int
    md5: str

    @property
    def name(self) -> str:
        return f"{self.stem}-idx{self.ndim}-ubyte.gz"

    def find(self, folder: Path) -> Path | None:
        """The file in ``folder`` or its sub-folder ``raw``, packed or unpacked, if it is there."""
        names = (f"{self.stem}{dash}idx{self.ndim}-ubyte{end}" for dash in "-." for end in (".gz", ""))
        candidates = (place / name for name in names for place in (folder, folder / "raw"))
        return next((path for path in candidates if path.is_file()), None)


TRAIN_IMAGES = OfficialFile("train-images", 3, 60_000, "f68b3c2dcbeaaa9fbdd348bbdeb94873")
TRAIN_LABELS = OfficialFile("train-labels", 1, 60_000, "d53e105ee54ea40749a09fcbcd1e9432")
TEST_IMAGES = OfficialFile("t10k-images", 3, 10_000, "9fb629c4189551a2d022fa330f9573f3")
TEST_LABELS = OfficialFile("t10k-labels", 1, 10_000, "ec29112dd5afa0611ce80d1b7f02629c")
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


def load_mnist(root: Path | None = None, *, download: bool = True) -> Splits:
    """Load MNIST (Y. LeCun et al., 1998), from files of the user, packed or not, else from the network."""
    places = search_places("mnist", root)
    for folder in places:
        found = {file: path for file in FILES if (path := file.find(folder)) is not None}
        if len(found) == len(FILES):
            break
        # What the cache folder lacks can be downloaded; what a user's folder lacks is an error.
        if found and folder != places[-1]:
            missing = ", ".join(file.name for file in FILES if file not in found)
            there = ", ".join(path.name for path in found.values())
            raise DataError(
                f"{folder} holds a part of MNIST ({there}); missing: {missing}. Put them there, too."
            )
    contents = ", ".join(file.name for file in FILES)
    if not download and len(found) < len(FILES):
        raise missing_data("mnist", contents, places, "download is switched off")
    try:
        for file in FILES:
            if file not in found:
                urls = tuple(mirror + file.name for mirror in MIRRORS)
                found[file] = download_file(urls, file.md5, places[-1] / file.name)
    except DownloadError as failure:
        raise missing_data("mnist", contents, places, str(failure)) from failure
    train = _read_part(TRAIN_IMAGES, TRAIN_LABELS, found)
    return Splits("mnist", train, _read_part(TEST_IMAGES, TEST_LABELS, found))


def _read_part(
    images_file: OfficialFile, labels_file: OfficialFile, paths: dict[OfficialFile, Path]
) -> Images:
    images = read_idx(paths[images_file], images_file.ndim)  # (n, 28, 28)
    labels = read_idx(paths[labels_file], labels_file.ndim)  # (n,)
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise DataError(
            f"{paths[images_file]} holds images of {tuple(images.shape[1:])} pixels, MNIST's are 28 x 28; "
            "for other images use the data set 'folder'"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{paths[images_file]} holds {len(images):,} images "
            f"but {paths[labels_file]} {len(labels):,} labels; they do not belong together: download both"
        )
    if len(labels) == 0 or int(labels.max()) >= len(CLASSES):
        raise DataError(
            f"{paths[labels_file]} must hold labels from 0 to 9, got "
            + (f"{int(labels.max())}" if len(labels) else "none")
            + "; download it again"
        )
    if len(images) != images_file.count:
        warnings.warn(
            f"{paths[images_file]} holds {len(images):,} images, the official file {images_file.count:,}: "
            "scores on it are not scores on MNIST",
            stacklevel=3,
        )
    return Images(images[:, None], labels.to(torch.int64), CLASSES)


TEST_COUNT = 500
_INK = 16


def load_digits() -> Splits:
    """Load 1,797 digits of 8 x 8 pixels (E. Alpaydin, C. Kaynak, UCI, 1998), always divided alike."""
    # scikit-learn takes a second to import, which a run on other data need not pay.
    with extras_named():
        from sklearn.datasets import load_digits as load_sklearn_digits
        from sklearn.model_selection import train_test_split

    images, labels = load_sklearn_digits(return_X_y=True)
    pixels = np.rint(images * (255 / _INK)).astype(np.uint8).reshape(-1, 1, 8, 8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_COUNT, stratify=labels, random_state=0
    )
    whole = Images(torch.from_numpy(pixels), torch.from_numpy(labels).to(torch.int64), tuple("0123456789"))
    return Splits("digits", whole.subset(torch.from_numpy(train)), whole.subset(torch.from_numpy(test)))
