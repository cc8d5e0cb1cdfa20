"""Folders of sketches."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from batchot.data.samples import Images, Splits
from batchot.data.sets.pictures import IMAGE_ENDINGS, in_threads
from batchot.data.sets.places import cached_array, fingerprint
from batchot.data.sets.shape_files import (
    LAYOUTS,
    PARTS,
    Part,
    choose_test,
    find_shape_files,
    name_shapes,
    place_files,
    shorten,
)
from batchot.data.sets.sketch_image import read_sketch
from batchot.errors import DataError, ShapeError, Tell
from batchot.shapes.formats.archives import read_member

READING_VERSION = 1  # raise it when a file would give other pixels: what is in the caches is then remade
_QUICK_SECONDS = 1.0


def warn_user(text: str) -> None:
    """Tell by a warning; what loaders do where nobody else is to be told."""
    warnings.warn(text, stacklevel=3)


@dataclass(frozen=True)
class SketchFile:
    """A sketch: what it is called, its class and part, and where it lies."""

    name: str  # readable and unique in its data set, such as ``"dog/5281"``
    class_name: str  # its class
    part: Part  # training or test
    path: Path  # the file, or the zip archive that holds it
    member: str | None = None  # its name in the archive; ``None`` for a file of its own

    @property
    def location(self) -> str:
        """Path, and member if there is one, for messages."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    def read(self, size: int) -> NDArray[np.uint8] | None:
        """The drawing, ``(size, size)``; ``None`` where it is blank."""
        if self.member is None:
            return read_sketch(self.path, size)
        try:
            content = read_member(self.path, self.member)
        except ShapeError as error:
            raise DataError(str(error)) from error
        return read_sketch(content, size, self.location)


def load_sketch_files(
    name: str,
    files: Sequence[SketchFile],
    *,
    size: int,
    classes: Sequence[str] | None = None,
    tell: Tell = warn_user,
) -> Splits[Images]:
    """Read sketches; blank and damaged ones are left out, counted and named."""
    names = tuple(sorted({file.class_name for file in files}) if classes is None else classes)
    parts: dict[Part, Images] = {}
    damaged: list[str] = []
    blank: list[str] = []
    for part in PARTS:
        in_part = [file for file in files if file.part == part]
        pixels = _read_all(f"{name} {part}", in_part, size)
        usable = np.flatnonzero((pixels < 255).any((1, 2)))
        for k in sorted(set(range(len(in_part))) - set(usable.tolist())):
            reason = _reason(in_part[k], size)
            (blank if reason is None else damaged).append(reason or in_part[k].location)
        labels = torch.tensor([names.index(in_part[k].class_name) for k in usable], dtype=torch.int64)
        images = torch.from_numpy(pixels[usable]).unsqueeze(1)  # (n, 1, size, size)
        parts[part] = Images(images, labels, names, tuple(in_part[k].name for k in usable))
        _check_classes(name, part, in_part, parts[part], [*damaged, *blank])
    for left, why in ((blank, "are blank and left out"), (damaged, "cannot be read and are left out")):
        if left:
            tell(f"{name}: {len(left):,} of {len(files):,} sketches {why}: {shorten(left)}")
    if not len(parts["train"]):
        raise DataError(f"{name} has no training sketches")
    return Splits(name, parts["train"], parts["test"])


def _check_classes(
    name: str, part: Part, files: Sequence[SketchFile], images: Images, lost: Sequence[str]
) -> None:
    left = {images.classes[label] for label in images.labels.unique().tolist()}
    if gone := sorted({file.class_name for file in files} - left):
        raise DataError(
            f"{name}: no {part} sketch of {shorten(gone)} can be used, all are blank or damaged: "
            f"{shorten(lost)}; restore the files or leave the class out"
        )


def _reason(file: SketchFile, size: int) -> str | None:
    """Why a file cannot be read, or ``None`` where it is blank. A cache knows only that there is no drawing."""
    try:
        file.read(size)
    except DataError as error:
        return str(error)
    return None


def _read_all(name: str, files: Sequence[SketchFile], size: int) -> NDArray[np.uint8]:
    """Pixels ``(n, size, size)``; white where there is no drawing."""

    def build() -> NDArray[np.uint8]:
        pixels = np.full((len(files), size, size), 255, np.uint8)

        def read(k: int) -> None:
            with suppress(DataError):
                if (drawn := files[k].read(size)) is not None:
                    pixels[k] = drawn

        with warnings.catch_warnings():  # here and not in a thread, as it changes what all threads see
            # Pillow warns of odd EXIF data, and of pictures that are refused here for their size.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            how = {"unit": "sketch", "delay": _QUICK_SECONDS, "disable": None}
            in_threads(len(files), read, desc="reading sketches", **how)
        return pixels

    if not files:
        return build()
    place = os.path.commonpath([os.path.abspath(file.path) for file in files])
    said = ((file.path, (file.name, file.member, file.path.suffix)) for file in files)
    return cached_array(f"sketches {name} {place} size={size}", fingerprint(READING_VERSION, said), build)


def load_sketch_folder(
    folder: Path,
    *,
    size: int = 128,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    tell: Tell = warn_user,
    name: str = "sketches",
) -> Splits[Images]:
    """Load ``CLASS/train/*``, ``train/CLASS/*`` and the like, or divide ``CLASS/*`` by chance; brought to one
    form by :func:`~batchot.data.sets.sketch_image.canonical`."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder with {LAYOUTS}")
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    found = find_shape_files(folder)
    images = [path for path in found.others if path.suffix.lower() in IMAGE_ENDINGS]
    if not images:
        endings = " ".join(sorted(IMAGE_ENDINGS))
        raise DataError(f"{folder} holds no images; expected {LAYOUTS}, FILE ending in one of {endings}")
    no_images = [*found.shapes, *(path for path in found.others if path.suffix.lower() not in IMAGE_ENDINGS)]
    _tell_left_out(folder, no_images, "are no images", tell)
    _tell_left_out(folder, found.unreadable, "cannot be read or lead in a circle", tell)
    placed, in_no_class = place_files(folder, images, "sketches")
    _tell_left_out(folder, in_no_class, "lie in no class or part", tell)
    if not placed:
        raise DataError(f"{folder} holds images, but none in the folder of a class; expected {LAYOUTS}")
    files = _divide(folder, placed, test_fraction, split_seed)
    return load_sketch_files(name, files, size=size, tell=tell)


def _divide(
    folder: Path, placed: Sequence[tuple[PurePosixPath, str, Part | None]], fraction: float, seed: int
) -> list[SketchFile]:
    names = name_shapes([path for path, _, _ in placed], [part for _, _, part in placed])
    undecided = [(of[1], name) for of, name in zip(placed, names, strict=True) if of[2] is None]
    in_test = choose_test(undecided, fraction, seed)
    return [
        SketchFile(name, class_name, part or ("test" if name in in_test else "train"), folder / path)
        for (path, class_name, part), name in zip(placed, names, strict=True)
    ]


def _tell_left_out(folder: Path, paths: Sequence[PurePosixPath], why: str, tell: Tell) -> None:
    if paths:
        tell(f"{folder}: {len(paths):,} files left out that {why}: {shorten(paths)}")
