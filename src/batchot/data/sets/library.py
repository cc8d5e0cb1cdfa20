"""The built-in shapes, written once into the cache folder."""

from __future__ import annotations

from pathlib import Path

from batchot.data.sets.collection import ShapeCollection
from batchot.data.sets.places import cache_folder, search_places
from batchot.data.sets.shape_folder import load_shape_folder
from batchot.errors import DataError, ShapeError
from batchot.shapes.library import CLASS_NAMES, write_library
from batchot.shapes.shape import Up

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
