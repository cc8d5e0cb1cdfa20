"""Folders of images, decoded in parallel and kept."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from batchot.data.batches.samplers import generator_for
from batchot.data.samples import Images, Splits
from batchot.data.sets.places import cached_array
from batchot.data.sets.sketch_image import readable_image
from batchot.errors import DataError

PROGRESS_ABOVE = 5_000
_CHUNK = 64


def decode_images(paths: Sequence[str], size: int | None = None) -> NDArray[np.uint8]:
    """Decode image files of one size to RGB, in several threads."""
    first = _decode(paths[0], size)
    pixels = np.empty((len(paths), 3, *first.shape[:2]), dtype=np.uint8)  # (n, 3, h, w)

    def decode(i: int) -> None:
        image = _decode(paths[i], size)
        if image.shape != first.shape:
            raise DataError(
                f"{paths[i]} is {image.shape[1]} x {image.shape[0]} pixels (width x height), but "
                f"{paths[0]} is {first.shape[1]} x {first.shape[0]}; give a size to scale all of them to"
            )
        pixels[i] = image.transpose(2, 0, 1)

    few = len(paths) <= PROGRESS_ABOVE
    in_threads(len(paths), decode, desc="decoding images", unit="image", disable=few)
    return pixels


def in_threads(n: int, do: Callable[[int], None], **bar: Any) -> None:
    """Do something for each number below ``n`` in several threads, under a progress bar."""

    def chunk(start: int) -> int:
        numbers = range(start, min(start + _CHUNK, n))
        for k in numbers:
            do(k)
        return len(numbers)

    with (
        tqdm(total=n, **bar) as shown,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
    ):
        for done in pool.map(chunk, range(0, n, _CHUNK)):
            shown.update(done)


def _decode(path: str, size: int | None) -> NDArray[np.uint8]:
    with readable_image(path), Image.open(path) as opened:
        if opened.mode.startswith(("I", "F")):
            raise DataError(
                f"{path} has {opened.mode} pixels, more than 8 bits a channel; save it with 8 bits"
            )
        # Looking for the turn costs half as much as decoding a small image; only EXIF tells of one.
        image = ImageOps.exif_transpose(opened) if "exif" in opened.info else opened
        if image.has_transparency_data:
            over = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
        image = image.convert("RGB")
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)  # (h, w, 3)


IMAGE_ENDINGS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def load_image_folder(
    root: Path, *, size: int | None = None, test_fraction: float = 0.2, seed: int = 0, name: str = "folder"
) -> Splits:
    """Load ``root/train/CLASS/*`` and ``root/test/CLASS/*``, or divide ``root/CLASS/*`` by chance."""
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder; expected {root}/train/CLASS/ and {root}/test/CLASS/, or {root}/CLASS/"
        )
    if size is not None and size < 1:
        raise DataError(f"size must be at least 1 pixel, got {size}")
    parts = [part for part in ("train", "test") if (root / part).is_dir()]
    if len(parts) == 1:
        raise DataError(
            f"{root} has {parts[0]}/ but not the other of train/ and test/; both or neither are needed"
        )
    if parts:
        train, test = (_list_classes(root / part) for part in parts)
        classes = tuple(sorted({*train.classes, *test.classes}))
        return Splits(name, _load(train, classes, size), _load(test, classes, size))
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    listing = _list_classes(root)
    whole = _load(listing, listing.classes, size)
    in_test = stratified_choice(whole.labels, test_fraction, seed)
    return Splits(name, whole.subset(torch.where(~in_test)[0]), whole.subset(torch.where(in_test)[0]))


def stratified_choice(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Choose by chance the same share of every class."""
    generator = generator_for("split", seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = torch.where(labels == label)[0]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        chosen[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return chosen


@dataclass(frozen=True)
class _Listing:
    """Image files under one folder; ``states`` (size, time of change) tell whether a file has changed."""

    folder: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    path_classes: tuple[str, ...]
    states: tuple[tuple[int, int], ...]


def _list_classes(folder: Path) -> _Listing:
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."))
    found: list[tuple[str, str, tuple[int, int]]] = []
    skipped = 0
    empty: list[str] = []
    for name in classes:
        with os.scandir(folder / name) as entries:
            in_class = sorted(entries, key=lambda entry: entry.name)
        images = [entry for entry in in_class if _is_image(entry)]
        skipped += len(in_class) - len(images)
        for entry in images:
            state = entry.stat()
            found.append((entry.path, name, (state.st_size, state.st_mtime_ns)))
        if not images:
            empty.append(name)
    if not found:
        endings = " ".join(sorted(IMAGE_ENDINGS))
        raise DataError(f"{folder} holds no images; expected {folder}/CLASS/FILE ending in one of {endings}")
    if skipped:
        warnings.warn(
            f"{folder}: {skipped} hidden files, folders or files that are no images left out", stacklevel=3
        )
    if empty:
        warnings.warn(f"{folder}: no images in the classes {', '.join(empty)}", stacklevel=3)
    paths, path_classes, states = zip(*found, strict=True)
    return _Listing(folder, classes, paths, path_classes, states)


def _is_image(entry: os.DirEntry[str]) -> bool:
    ending = os.path.splitext(entry.name)[1].lower()
    return ending in IMAGE_ENDINGS and not entry.name.startswith(".") and entry.is_file()


def _load(listing: _Listing, classes: tuple[str, ...], size: int | None) -> Images:
    index = {name: label for label, name in enumerate(classes)}
    labels = torch.tensor([index[name] for name in listing.path_classes], dtype=torch.int64)
    if len(listing.paths) <= PROGRESS_ABOVE:
        pixels = decode_images(listing.paths, size)
    else:
        name = f"{listing.folder.resolve()} size={size}"
        # Of the paths only the part below the folder, so that it may be named in another way the next time.
        below = [os.path.basename(path) for path in listing.paths]
        content = repr((name, listing.path_classes, below, listing.states))
        fingerprint = hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()
        pixels = cached_array(name, fingerprint, lambda: decode_images(listing.paths, size))
    return Images(torch.from_numpy(pixels), labels, classes)
