"""Collections of shapes, and finding them by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchot.data import DataError
from batchot.data.sets.by_name import load_collection
from batchot.data.sets.shape_files import ShapeCollection
from batchot.shapes.source import ShapeSource
from data.shape_formats import count_classes


def source(name: str, label: int) -> ShapeSource:
    return ShapeSource(name, Path(f"{name}.off"), label=label)


def collection(**changes: object) -> ShapeCollection:
    train = (source("cup/1", 0), source("mug/1", 1), source("pan/1", 2))
    values = {
        "name": "folder",
        "classes": ("cup", "mug", "pan"),
        "train": train,
        "test": (source("pan/2", 2), source("cup/2", 0)),
        "kind": "meshes",
        "folder": Path("shapes"),
    }
    return ShapeCollection(**(values | changes))  # type: ignore[arg-type]


def test_counts() -> None:
    assert len(collection()) == 5
    assert count_classes(collection()) == ((1, 1), (1, 0), (1, 1))


def test_only_some_classes() -> None:
    some = collection().only(("pan", "cup"), "two")
    assert some.name == "two" and some.classes == ("pan", "cup")
    assert [(item.name, item.label) for item in some.train] == [("cup/1", 1), ("pan/1", 0)]
    assert [(item.name, item.label) for item in some.test] == [("pan/2", 0), ("cup/2", 1)]
    with pytest.raises(DataError, match=r"folder has no class jug; there are cup, mug, pan"):
        collection().only(("jug",))


def test_what_cannot_be() -> None:
    with pytest.raises(DataError, match=r"shapes: folder has no training shape"):
        collection(train=())
    with pytest.raises(DataError, match=r"jug/1 has label 3, but there are 3 classes"):
        collection(test=(source("jug/1", 3),))
    with pytest.raises(DataError, match=r"1 names are there twice, such as cup/1"):
        collection(test=(source("cup/1", 0),))


def test_options_that_do_not_apply(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"unknown data set of shapes 'shapenet'; there are modelnet40, modelnet10"
    ):
        load_collection("shapenet", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"prefer must be one of meshes, points, any, got 'voxels'"):
        load_collection("modelnet40", tmp_path, prefer="voxels")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"prefer='points' applies to ModelNet only, not to 'folder'"):
        load_collection("folder", tmp_path, prefer="points")
    with pytest.raises(DataError, match=r"level=1 applies to 'psb' only"):
        load_collection("folder", tmp_path, level=1)
    with pytest.raises(DataError, match=r"min_class=20 applies to 'folder' and 'psb' only"):
        load_collection("modelnet10", tmp_path, min_class=20)
    with pytest.raises(DataError, match=r"'folder' needs --data-root"):
        load_collection("folder")
