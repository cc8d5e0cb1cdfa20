"""A folder for each class with files of shapes in it."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from batchot.data.errors import DataError
from batchot.data.folder_layout import LAYOUTS, PARTS, Part, place_files
from batchot.data.seeded_split import choose_test
from batchot.data.shape_collection import ShapeCollection
from batchot.data.shape_files import (
    SHAPE_ENDINGS,
    find_shape_files,
    kind_of,
    name_shapes,
    shorten,
    sources_of,
)
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource


def load_shape_folder(
    root: Path,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    min_class: int = 1,
    up: Up = "auto",
    name: str = "folder",
) -> ShapeCollection:
    """Load ``root/CLASS/train/*`` and ``root/CLASS/test/*``, ``root/train/CLASS/*`` and ``root/test/CLASS/*``,
    or divide ``root/CLASS/*`` by chance.

    Below these, files may lie in further folders. Meshes and point clouds may be mixed. Hidden files are
    passed over; files of other endings, small classes and links that lead in a circle are left out with a
    warning that counts and names them.

    Args:
        root: the folder.
        seed: of the division, which depends on the seed and the names alone.
        test_fraction: share of each class that is kept for the test, in (0, 1), where the folder has no
            ``train/`` and ``test/``. A class of one shape goes to the training part.
        min_class: classes of fewer shapes, both parts together, are left out.
        up: the axis of the files that points up; ``"auto"`` is what each format says.
        name: of the collection.

    Returns:
        The collection; classes in alphabetical order.

    Raises:
        DataError: when the folder is missing or holds no shapes, or some classes are divided and some not.

    Example:
        >>> import tempfile
        >>> from batchot.data.shape_folder import load_shape_folder
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("cup/a", "cup/b", "cup/c", "pan/a", "pan/b"):
        ...         (Path(root) / name).parent.mkdir(exist_ok=True)
        ...         (Path(root) / f"{name}.off").touch()
        ...     collection = load_shape_folder(Path(root), test_fraction=0.3)
        >>> collection.classes, collection.count_classes()
        (('cup', 'pan'), ((2, 1), (1, 1)))
    """
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
        for (path, class_name, part), shape in zip(placed, names, strict=True)
        for source in sources_of(root / path, shape, up)
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
    """A collection of shapes, each given with its class and its part, ``None`` where chance is to decide.

    Small classes are left out, and classes without a training or a test shape named, with a warning.

    Raises:
        DataError: when no class is large enough, or no training shape is left.
    """
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
    parts: dict[Part, list[ShapeSource]] = {"train": [], "test": []}
    for label, class_name in enumerate(classes):
        members = sorted(by_class[class_name], key=lambda member: member[1].name)
        undecided = [source.name for part, source in members if part is None]
        in_test = choose_test(undecided, test_fraction, seed)
        for part, source in members:
            chosen: Part = part or ("test" if source.name in in_test else "train")
            parts[chosen].append(
                ShapeSource(source.name, source.path, source.member, label=label, up=source.up)
            )
    for part in PARTS:
        present = {source.label for source in parts[part]}
        if lacking := [class_name for label, class_name in enumerate(classes) if label not in present]:
            warnings.warn(
                f"{folder}: {len(lacking)} classes without a {part} shape: {', '.join(lacking)}", stacklevel=3
            )
    train, test = tuple(parts["train"]), tuple(parts["test"])
    return ShapeCollection(name, classes, train, test, kind_of((*train, *test)), folder)
