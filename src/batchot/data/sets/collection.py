"""A data set of 3D shapes: where each lies and what it is, divided into training and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from batchot.errors import DataError
from batchot.shapes.source import ShapeSource

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
