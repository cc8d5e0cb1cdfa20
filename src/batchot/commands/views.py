"""Options and folders that the commands about views share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from batchot.commands.common import UsageError

if TYPE_CHECKING:
    from batchot.data.shape_collection import ShapeCollection
    from batchot.shapes.view_settings import ViewSettings


def add_view_options(parser: argparse.ArgumentParser) -> None:
    """Add what determines the pixels of views."""
    parser.add_argument("--cameras", default="circle-12", help="circle-12 (default), dodecahedron-20, box-6")
    parser.add_argument("--size", type=int, default=224, help="height and width in pixels (224)")
    parser.add_argument(
        "--channels", default="shaded", help="one or more of shaded,depth,silhouette,lines (shaded)"
    )
    parser.add_argument("--antialias", type=int, default=2, help="samples a pixel in each direction (2)")
    parser.add_argument(
        "--up",
        choices=("auto", "z", "y"),
        default="auto",
        help="the axis that points up (what the format says)",
    )


def view_settings_of(options: argparse.Namespace) -> ViewSettings:
    """Give the settings of those options."""
    from batchot.shapes.view_settings import ViewSettings

    try:
        return ViewSettings(
            cameras=options.cameras,
            size=options.size,
            channels=tuple(options.channels.split(",")),
            antialias=options.antialias,
            up=options.up,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def collection_of(path: Path, up: str = "auto") -> ShapeCollection:
    """Give the shapes of class folders, or a single shape, or a folder without classes as one class."""
    from batchot.data import DataError
    from batchot.data.shape_collection import ShapeCollection
    from batchot.data.shape_files import find_shape_files, kind_of, name_shapes
    from batchot.data.shape_folder import load_shape_folder
    from batchot.shapes.source import ShapeSource

    if path.is_file():
        source = ShapeSource(path.stem, path, up=up)  # type: ignore[arg-type]
        return ShapeCollection(path.name, ("shape",), (source,), (), kind_of([source]), path.parent)
    if not path.is_dir():
        raise DataError(f"{path} is neither a file nor a folder; give a shape or a folder of shapes")
    found = find_shape_files(path)
    if all(len(file.parts) > 1 for file in found.shapes):
        return load_shape_folder(path, up=up)  # type: ignore[arg-type]
    found.warn()
    names = name_shapes(found.shapes, [None] * len(found.shapes))
    sources = tuple(
        ShapeSource(name, path / file, up=up)  # type: ignore[arg-type]
        for name, file in zip(names, found.shapes, strict=True)
    )
    return ShapeCollection(path.name, ("shape",), sources, (), kind_of(sources), path)
