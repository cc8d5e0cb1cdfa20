"""Data sets of images and of 3D shapes by name."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from batchot.data.samples import Splits
from batchot.data.sets import IMAGE_SETS
from batchot.data.sets.modelnet import load_modelnet
from batchot.data.sets.psb import load_psb
from batchot.data.sets.shape_files import Prefer, ShapeCollection
from batchot.data.sets.shape_folder import load_library, load_shape_folder
from batchot.errors import DataError
from batchot.shapes.shape import Up

if TYPE_CHECKING:
    DatasetName: TypeAlias = str
else:
    DatasetName = Literal[tuple(IMAGE_SETS)]


def load_dataset(
    name: DatasetName, data_root: Path | None = None, *, download: bool = True, size: int | None = None
) -> Splits:
    """Load a set of images by its name, from --data-root, $BATCHOT_DATA or the cache, else from the network."""
    if name not in IMAGE_SETS:
        raise DataError(f"unknown data set {name!r}; there are {', '.join(IMAGE_SETS)}")
    module, _, function = IMAGE_SETS[name].partition(":")
    load = getattr(import_module(module), function)
    takes = inspect.signature(load).parameters
    if size is not None and "size" not in takes:
        raise DataError(
            f"size={size} applies to the data set 'folder' only; the images of {name!r} have their own"
        )
    if data_root is None and "root" in takes and takes["root"].default is inspect.Parameter.empty:
        raise DataError(
            f"the data set {name!r} needs --data-root: the folder with train/CLASS/ and test/CLASS/, or CLASS/"
        )
    given: dict[str, Any] = {"root": data_root and Path(data_root), "download": download, "size": size}
    splits: Splits = load(**{key: value for key, value in given.items() if key in takes})
    return splits


CollectionName = Literal["modelnet40", "modelnet10", "psb", "folder", "library"]


def load_collection(
    name: CollectionName,
    data_root: Path | None = None,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    min_class: int = 1,
    prefer: Prefer = "any",
    up: Up = "auto",
    parts: bool = False,
    tolerance: float | None = None,
    level: int | None = None,
    download: bool = True,
) -> ShapeCollection:
    """Find a data set of 3D shapes by its name."""
    if name not in get_args(CollectionName):
        raise DataError(
            f"unknown data set of shapes {name!r}; there are {', '.join(get_args(CollectionName))}"
        )
    if prefer not in get_args(Prefer):
        raise DataError(f"prefer must be one of {', '.join(get_args(Prefer))}, got {prefer!r}")
    if prefer != "any" and not name.startswith("modelnet"):
        raise DataError(f"prefer={prefer!r} applies to ModelNet only, not to {name!r}")
    if level is not None and name != "psb":
        raise DataError(f"level={level} applies to 'psb' only, not to {name!r}")
    if min_class != 1 and name not in ("folder", "psb"):
        raise DataError(f"min_class={min_class} applies to 'folder' and 'psb' only, not to {name!r}")
    root = None if data_root is None else Path(data_root)
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
    return load_shape_folder(
        root,
        seed=seed,
        test_fraction=test_fraction,
        min_class=min_class,
        up=up,
        parts=parts,
        tolerance=tolerance,
    )
