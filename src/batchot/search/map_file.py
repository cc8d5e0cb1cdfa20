"""The map of an index in a file beside it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from batchot.search.errors import SearchError
from batchot.search.projection_map import EMPTY, MapPoints
from batchot.training.files import write_atomically


def write_map(path: Path, points: MapPoints) -> None:
    """Write a map, whole or not at all.

    Raises:
        RunError: the disk is full or not writable
    """
    arrays = {
        "ids": np.array(points.ids, dtype=np.str_),
        "xy": points.xy,
        "classes": np.array(points.classes, dtype=np.str_),
        "names": np.array(points.names, dtype=np.str_),
        "laid_out": points.laid_out,
        "counts": np.array([points.total, points.changes]),
    }
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_map(path: Path) -> MapPoints:
    """Read a map; an empty one where it was not laid out yet.

    Raises:
        SearchError: the file is damaged
    """
    if not path.is_file():
        return EMPTY
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, classes, names = (tuple(file[key].tolist()) for key in ("ids", "classes", "names"))
            if "laid_out" not in file.files:  # of an older version
                return MapPoints(ids, file["xy"], classes, names, np.ones(len(ids), bool), len(ids))
            total, changes = file["counts"].tolist()
            return MapPoints(ids, file["xy"], classes, names, file["laid_out"], total, changes)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise SearchError(f"{path} is damaged ({error}); delete it and build the index again") from error
