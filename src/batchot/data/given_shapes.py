"""Shapes as a user points at them: a file, class folders, or a folder without classes."""

from __future__ import annotations

from pathlib import Path

from batchot.data.errors import DataError
from batchot.data.shape_collection import ShapeCollection
from batchot.data.shape_files import find_shape_files, kind_of, name_shapes, sources_of
from batchot.data.shape_folder import load_shape_folder
from batchot.shapes.shape import Up

NO_CLASSES = ("shape",)
"""The classes of shapes that lie in no class folders."""


def collection_of(path: Path, up: Up = "auto") -> ShapeCollection:
    """Give the shapes of class folders, or a single shape, or a folder without classes as one class.

    Args:
        path: a file or a folder
        up: the axis of the files that points up

    Raises:
        DataError: there is nothing, or no shape in it
    """
    if path.is_file():
        sources = tuple(sources_of(path, path.stem, up))
        return ShapeCollection(path.name, NO_CLASSES, sources, (), kind_of(sources), path.parent)
    if not path.is_dir():
        raise DataError(f"{path} is neither a file nor a folder; give a shape or a folder of shapes")
    found = find_shape_files(path)
    if all(len(file.parts) > 1 for file in found.shapes):  # also where there are none, which is said there
        return load_shape_folder(path, up=up)
    found.warn()
    names = name_shapes(found.shapes, [None] * len(found.shapes))
    sources = tuple(
        source
        for name, file in zip(names, found.shapes, strict=True)
        for source in sources_of(path / file, name, up)
    )
    return ShapeCollection(path.name, NO_CLASSES, sources, (), kind_of(sources), path, found.left_out)
