"""The built-in shapes, written once into the cache folder."""

from __future__ import annotations

from pathlib import Path

from batchot.data.errors import DataError
from batchot.data.locate import cache_folder, search_places
from batchot.data.shape_collection import ShapeCollection
from batchot.data.shape_folder import load_shape_folder
from batchot.shapes.errors import ShapeError
from batchot.shapes.library import CLASS_NAMES, write_library
from batchot.shapes.shape import Up

PER_CLASS = 60


def load_library(
    root: Path | None = None, *, per_class: int = PER_CLASS, seed: int = 0, up: Up = "auto"
) -> ShapeCollection:
    """The built-in parametric shapes: from a folder of the user, or made from a seed.

    They are written into the cache folder the first time, in a folder for each number and seed; a run that
    is stopped meanwhile is taken up by the next.

    Args:
        root: folder that holds ``library/``, or is one, as ``write_library`` makes it: then that is taken.
            Else ``$BATCHOT_DATA`` is looked at, else they are made.
        per_class: number of shapes of each class, where they are made.
        seed: from which they are made.
        up: the axis of the files that points up, where they are the user's.

    Returns:
        The collection.

    Raises:
        DataError: when they cannot be written, or the user's folder is not usable.

    Example:
        >>> import os, tempfile
        >>> from unittest.mock import patch
        >>> from batchot.data.shape_library import load_library
        >>> with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, XDG_CACHE_HOME=folder):
        ...     collection = load_library(per_class=3)
        >>> len(collection) == 3 * len(collection.classes)
        True
    """
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
