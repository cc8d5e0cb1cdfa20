"""A data set of 3D shapes: where each lies and what it is, divided into training and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from batchot.data.errors import DataError
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

CollectionName = Literal["modelnet40", "modelnet10", "psb", "folder", "library"]
Kind = Literal["meshes", "points", "mixed"]
Prefer = Literal["meshes", "points", "any"]


@dataclass(frozen=True)
class ShapeCollection:
    """Shapes with their classes; nothing of them is read before it is asked for.

    Args:
        name: the data set, e.g. ``"modelnet40"``.
        classes: name of each class; the labels of the shapes are indices into it.
        train: shapes to learn from, at least one.
        test: shapes to measure on; it may be empty.
        kind: what the shapes are: ``"meshes"``, ``"points"``, or ``"mixed"``.
        folder: where they were found: a folder, or an archive.
        left_out: a sentence for each file there that may hold a shape and is not read.

    Raises:
        DataError: when there is no training shape, a name is there twice, a label has no class.

    Example:
        >>> from batchot.data.shape_collection import ShapeCollection
        >>> from batchot.shapes.source import ShapeSource
        >>> chair = ShapeSource("chair/1", Path("chair/1.off"), label=0)
        >>> collection = ShapeCollection("folder", ("chair",), (chair,), (), "meshes", Path("."))
        >>> len(collection), collection.count_classes()
        (1, ((1, 0),))
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[ShapeSource, ...]
    test: tuple[ShapeSource, ...]
    kind: Kind
    folder: Path
    left_out: tuple[str, ...] = ()

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
        """The shapes of some classes, which are numbered anew in the order given.

        Args:
            classes: names of classes.
            name: of the new collection; else as before.

        Raises:
            DataError: on a class that is not there.

        Example:
            >>> from batchot.data.shape_collection import ShapeCollection
            >>> from batchot.shapes.source import ShapeSource
            >>> shapes = tuple(ShapeSource(f"{k}", Path("x.off"), label=k) for k in range(3))
            >>> collection = ShapeCollection("folder", ("a", "b", "c"), shapes, (), "meshes", Path("."))
            >>> [(source.name, source.label) for source in collection.only(("c", "a")).train]
            [('0', 1), ('2', 0)]
        """
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
    """Find a data set of 3D shapes by its name.

    Args:
        name: ``"modelnet40"``, ``"modelnet10"``, ``"psb"`` (Princeton Shape Benchmark: ``.cla`` files and the
            models that they name), ``"folder"`` (class folders in ``data_root`` itself) or ``"library"`` (the
            built-in shapes, written once into the cache folder).
        data_root: folder that holds a folder of that name, or the files themselves; else ``$BATCHOT_DATA``,
            else the user's cache folder.
        seed: of the division into training and test where the data has none, and of the built-in shapes.
        test_fraction: share of each class that is kept for the test there, in (0, 1).
        min_class: classes of fewer shapes are left out (``"folder"`` and ``"psb"``).
        prefer: of ModelNet, which may be there twice: the meshes, the point clouds, or the first found.
        up: the axis of the files that points up; ``"auto"`` takes what is known of the data set and of the
            format.
        level: depth at which the hierarchy of classes of ``"psb"`` is cut: 1 leaves the coarsest; by default
            it is not cut.
        download: download ModelNet into the cache folder when it is found nowhere.

    Returns:
        The collection.

    Raises:
        DataError: on an unknown name, on an option that does not apply, on data that is missing or malformed.

    Example:
        >>> from batchot.data.shape_collection import load_collection
        >>> load_collection("folder", Path("no-such-folder"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        batchot.data.errors.DataError: no-such-folder is not a folder; ...
    """
    # Here, because these modules make collections and so need this one.
    from batchot.data.modelnet import load_modelnet
    from batchot.data.psb import load_psb
    from batchot.data.shape_folder import load_shape_folder
    from batchot.data.shape_library import load_library

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
