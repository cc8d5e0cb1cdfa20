"""Shapes in class folders, the user's own or the built-in library."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Literal

from batchot.data.sets.pictures import IMAGE_ENDINGS
from batchot.data.sets.places import cache_folder, search_places
from batchot.data.sets.shape_files import (
    LAYOUTS,
    PARTS,
    SHAPE_ENDINGS,
    Part,
    ShapeCollection,
    choose_test,
    find_shape_files,
    kind_of,
    name_shapes,
    place_files,
    shorten,
    sources_of,
)
from batchot.errors import DataError, ShapeError
from batchot.files import walk
from batchot.shapes.library import CLASS_NAMES, write_library
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

NO_CLASSES = ("shape",)
"""The classes of shapes that lie in no class folders."""


def collection_of(
    path: Path, up: Up = "auto", *, parts: bool = False, tolerance: float | None = None
) -> ShapeCollection:
    """Give the shapes of class folders, or a single shape, or a folder without classes as one class."""
    if path.is_file():
        sources = tuple(sources_of([path], [path.stem], up, parts, tolerance)[0])
        return ShapeCollection(path.name, NO_CLASSES, sources, (), kind_of(sources), path.parent)
    if not path.is_dir():
        raise DataError(f"{path} is neither a file nor a folder; give a shape or a folder of shapes")
    found = find_shape_files(path)
    if all(len(file.parts) > 1 for file in found.shapes):  # also where there are none, which is said there
        return load_shape_folder(path, up=up, parts=parts, tolerance=tolerance)
    found.warn()
    names = name_shapes(found.shapes, [None] * len(found.shapes))
    files = [path / file for file in found.shapes]
    sources = tuple(
        source for of_file in sources_of(files, names, up, parts, tolerance) for source in of_file
    )
    return ShapeCollection(path.name, NO_CLASSES, sources, (), kind_of(sources), path, found.left_out)


_ENOUGH = 1_000


def folder_kind(root: Path) -> Literal["shape", "image"] | None:
    """Say which of the two most of the first thousand files are that are either."""
    counts: Counter[Literal["shape", "image"]] = Counter()
    for _, folders, files in walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        for file in files:
            ending = PurePath(file).suffix.lower()
            if ending in SHAPE_ENDINGS:
                counts["shape"] += 1
            elif ending in IMAGE_ENDINGS:
                counts["image"] += 1
        if counts.total() >= _ENOUGH:
            break
    return counts.most_common(1)[0][0] if counts else None


def load_shape_folder(
    root: Path,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    min_class: int = 1,
    up: Up = "auto",
    parts: bool = False,
    tolerance: float | None = None,
    name: str = "folder",
) -> ShapeCollection:
    """Load ``CLASS/train/*``, ``train/CLASS/*`` and the like, or divide ``CLASS/*`` by chance."""
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; expected a folder with {LAYOUTS}")
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    found = find_shape_files(root)
    found.warn()
    if not found.shapes:
        endings = " ".join(sorted(SHAPE_ENDINGS))
        raise DataError(f"{root} holds no shapes; expected {LAYOUTS}, FILE ending in one of {endings}")
    placed, left_out = place_files(root, found.shapes)
    if left_out:
        warnings.warn(
            f"{root}: {len(left_out)} shapes left out that lie in no class or part: {shorten(left_out)}",
            stacklevel=2,
        )
    if not placed:
        raise DataError(f"{root} holds shapes, but none in the folder of a class; expected {LAYOUTS}")
    names = name_shapes([path for path, _, _ in placed], [part for _, _, part in placed])
    shapes = [
        (class_name, part, source)
        for (_, class_name, part), of_file in zip(
            placed,
            sources_of([root / path for path, _, _ in placed], names, up, parts, tolerance),
            strict=True,
        )
        for source in of_file
    ]
    found_shapes = divide(name, root, shapes, seed=seed, test_fraction=test_fraction, min_class=min_class)
    return replace(found_shapes, left_out=found.left_out)


def divide(
    name: str,
    folder: Path,
    shapes: Sequence[tuple[str, Part | None, ShapeSource]],
    *,
    seed: int,
    test_fraction: float,
    min_class: int,
) -> ShapeCollection:
    """A collection of shapes, each given with its class and its part, ``None`` where chance is to decide."""
    by_class: dict[str, list[tuple[Part | None, ShapeSource]]] = defaultdict(list)
    for class_name, part, source in shapes:
        by_class[class_name].append((part, source))
    sizes = {class_name: len(members) for class_name, members in sorted(by_class.items())}
    classes = tuple(class_name for class_name, size in sizes.items() if size >= min_class)
    if small := [f"{class_name} ({size})" for class_name, size in sizes.items() if size < min_class]:
        lost = sum(size for size in sizes.values() if size < min_class)
        text = f"{folder}: {len(small)} classes of fewer than {min_class} shapes left out"
        if not classes:
            raise DataError(f"{text}, none remains: {shorten(small)}; lower min_class")
        warnings.warn(f"{text}, with {lost} shapes: {', '.join(small)}", stacklevel=3)
    undecided = ((class_name, source.name) for class_name, part, source in shapes if part is None)
    in_test = choose_test(undecided, test_fraction, seed)
    parts: dict[Part, list[ShapeSource]] = {"train": [], "test": []}
    for label, class_name in enumerate(classes):
        for part, source in sorted(by_class[class_name], key=lambda member: member[1].name):
            chosen: Part = part or ("test" if source.name in in_test else "train")
            parts[chosen].append(replace(source, label=label))
    for part in PARTS:
        present = {source.label for source in parts[part]}
        if lacking := [class_name for label, class_name in enumerate(classes) if label not in present]:
            warnings.warn(
                f"{folder}: {len(lacking)} classes without a {part} shape: {', '.join(lacking)}", stacklevel=3
            )
    train, test = tuple(parts["train"]), tuple(parts["test"])
    return ShapeCollection(name, classes, train, test, kind_of((*train, *test)), folder)


PER_CLASS = 60


def load_library(
    root: Path | None = None, *, per_class: int = PER_CLASS, seed: int = 0, up: Up = "auto"
) -> ShapeCollection:
    """The built-in parametric shapes: from a folder of the user, or made from a seed."""
    for place in search_places("library", root)[:-1]:
        if place.is_dir() and all((place / name).is_dir() for name in CLASS_NAMES):
            return load_shape_folder(place, up=up, name="library")
    folder = cache_folder() / "library" / f"{per_class}-per-class-seed-{seed}"
    try:
        # Quick when they are there: it only looks whether they are whole and of this version.
        write_library(folder, per_class=per_class, seed=seed)
    except (OSError, ShapeError) as error:
        raise DataError(
            f"the built-in shapes cannot be written into {folder} ({error}); make room there, or set another "
            "cache folder with XDG_CACHE_HOME"
        ) from error
    return load_shape_folder(folder, name="library")
