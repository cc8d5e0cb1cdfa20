"""A data set of 3D shapes: where each lies and what it is, divided into training and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from batchot.errors import DataError
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

CollectionName = Literal["modelnet40", "modelnet10", "psb", "folder", "library"]
Kind = Literal["meshes", "points", "mixed"]
Prefer = Literal["meshes", "points", "any"]


@dataclass(frozen=True)
class ShapeCollection:
    """Shapes with their classes; nothing of them is read before it is asked for."""

    name: str  # the data set, e.g. ``"modelnet40"``
    classes: tuple[str, ...]  # name of each class; the labels of the shapes are indices into it
    train: tuple[ShapeSource, ...]  # shapes to learn from, at least one
    test: tuple[ShapeSource, ...]  # shapes to measure on; it may be empty
    kind: Kind  # what the shapes are: ``"meshes"``, ``"points"``, or ``"mixed"``
    folder: Path  # where they were found: a folder, or an archive
    left_out: tuple[str, ...] = ()  # a sentence for each file there that may hold a shape and is not read

    def __post_init__(self) -> None:
        if not self.train:
            raise DataError(f"{self.folder}: {self.name} has no training shape")
        for source in (*self.train, *self.test):
            if not 0 <= source.label < len(self.classes):
                raise DataError(
                    f"{self.name}: {source.name} has label {source.label}, "
                    f"but there are {len(self.classes)} classes"
                )
        names = Counter(source.name for source in (*self.train, *self.test))
        if twice := [name for name, count in names.items() if count > 1]:
            raise DataError(f"{self.name}: {len(twice)} names are there twice, such as {twice[0]}")

    def __len__(self) -> int:
        return len(self.train) + len(self.test)

    def count_classes(self) -> tuple[tuple[int, int], ...]:
        """Number of training and of test shapes of each class."""
        train, test = (Counter(source.label for source in part) for part in (self.train, self.test))
        return tuple((train[label], test[label]) for label in range(len(self.classes)))

    def only(self, classes: Sequence[str], name: str | None = None) -> ShapeCollection:
        """The shapes of some classes, which are numbered anew in the order given."""
        if unknown := [name for name in classes if name not in self.classes]:
            raise DataError(
                f"{self.name} has no class {', '.join(unknown)}; there are {', '.join(self.classes)}"
            )
        label = {self.classes.index(name): new for new, name in enumerate(classes)}
        train, test = (
            tuple(replace(source, label=label[source.label]) for source in part if source.label in label)
            for part in (self.train, self.test)
        )
        return ShapeCollection(name or self.name, tuple(classes), train, test, self.kind, self.folder)


def load_collection(
    name: CollectionName,
    data_root: Path | None = None,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    min_class: int = 1,
    prefer: Prefer = "any",
    up: Up = "auto",
    level: int | None = None,
    download: bool = True,
) -> ShapeCollection:
    """Find a data set of 3D shapes by its name."""
    # Here, because these modules make collections and so need this one.
    from batchot.data.sets.library import load_library
    from batchot.data.sets.modelnet import load_modelnet
    from batchot.data.sets.psb import load_psb
    from batchot.data.sets.shape_folder import load_shape_folder

    if name not in get_args(CollectionName):
        raise DataError(
            f"unknown data set of shapes {name!r}; there are {', '.join(get_args(CollectionName))}"
        )
    root = None if data_root is None else Path(data_root)
    _check_options(name, prefer, level, min_class)
    if name == "modelnet40" or name == "modelnet10":
        return load_modelnet(name, root, prefer=prefer, up=up, download=download)
    if name == "library":
        return load_library(root, seed=seed, up=up)
    if name == "psb":
        return load_psb(root, seed=seed, test_fraction=test_fraction, min_class=min_class, level=level, up=up)
    if root is None:
        raise DataError(
            "the data set 'folder' needs --data-root: the folder with CLASS/FILE, CLASS/train/FILE and "
            "CLASS/test/FILE, or train/CLASS/FILE and test/CLASS/FILE"
        )
    return load_shape_folder(root, seed=seed, test_fraction=test_fraction, min_class=min_class, up=up)


def _check_options(name: CollectionName, prefer: Prefer, level: int | None, min_class: int) -> None:
    if prefer not in get_args(Prefer):
        raise DataError(f"prefer must be one of {', '.join(get_args(Prefer))}, got {prefer!r}")
    if prefer != "any" and not name.startswith("modelnet"):
        raise DataError(f"prefer={prefer!r} applies to ModelNet only, not to {name!r}")
    if level is not None and name != "psb":
        raise DataError(f"level={level} applies to 'psb' only, not to {name!r}")
    if min_class != 1 and name not in ("folder", "psb"):
        raise DataError(f"min_class={min_class} applies to 'folder' and 'psb' only, not to {name!r}")
