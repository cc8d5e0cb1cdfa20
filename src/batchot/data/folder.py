"""A folder for each class with image files in it."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from batchot.data.cache import cached_array
from batchot.data.decode import PROGRESS_ABOVE, decode_images
from batchot.data.errors import DataError
from batchot.data.images import Images, Splits
from batchot.data.seeding import generator_for

IMAGE_ENDINGS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def load_image_folder(
    root: Path, *, size: int | None = None, test_fraction: float = 0.2, seed: int = 0, name: str = "folder"
) -> Splits:
    """Load ``root/train/CLASS/*`` and ``root/test/CLASS/*``, or divide ``root/CLASS/*`` by chance.

    Hidden files and files that are no images are left out, with a warning that says how many. More than 5,000
    images are kept decoded in the cache folder until a file changes.

    Args:
        root: the folder.
        size: height and width to which images are scaled; ``None``: they all have one size already.
        test_fraction: share of each class that is kept for the test, in (0, 1), where ``root`` has no
            ``train/`` and ``test/``.
        seed: of that division.
        name: of the data set.

    Returns:
        RGB images; classes in alphabetical order.

    Raises:
        DataError: when the folder is missing or holds no images, when an image is damaged or has another
            size.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from batchot.data import load_image_folder
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for colour in ("red", "blue"):
        ...         (Path(root) / colour).mkdir()
        ...         for i in range(10):
        ...             Image.new("RGB", (8, 8), colour).save(Path(root) / colour / f"{i}.png")
        ...     splits = load_image_folder(Path(root), test_fraction=0.3)
        >>> splits.train.classes, len(splits.train), splits.test.labels.bincount().tolist()
        (('blue', 'red'), 14, [3, 3])
    """
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
    """Choose by chance the same share of every class.

    Args:
        labels: class of each sample, int64, shape ``(n,)``.
        fraction: share to choose, rounded to whole samples in each class; a class of two or more samples
            gives at least one and keeps at least one, a class of one gives none.
        seed: of the choice.

    Returns:
        Which samples are chosen, bool, shape ``(n,)``.

    Example:
        >>> import torch
        >>> from batchot.data.folder import stratified_choice
        >>> labels = torch.tensor([0] * 10 + [1] * 4 + [2])
        >>> labels[stratified_choice(labels, 0.3, seed=0)].tolist()
        [0, 0, 0, 1]
    """
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
