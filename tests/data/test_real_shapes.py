"""The loaders on real data, in the layouts in which it is unpacked."""

from __future__ import annotations

import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from batchot.data.clouds import load_clouds
from batchot.data.sets.by_name import load_collection
from batchot.data.sets.modelnet import CLASSES
from data.shape_formats import cla_text, count_classes


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool], empty: bool = False) -> None:
    with tarfile.open(archive) as file:
        for member in file:
            if member.isfile() and wanted(member.name):
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                content = None if empty else file.extractfile(member)
                path.write_bytes(b"" if content is None else content.read())


def test_names_of_modelnet40(shared_data: Path, tmp_path: Path) -> None:
    for name in (shared_data / "modelnet40_points.names.txt").read_text().split():
        path = tmp_path / "modelnet40_points" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # which would say that it is not complete
        forty, ten = (load_collection(name, tmp_path) for name in ("modelnet40", "modelnet10"))
    assert (len(forty.train), len(forty.test), forty.classes) == (9_843, 2_468, CLASSES)
    assert (len(ten.train), len(ten.test), len(ten.classes)) == (3_991, 908, 10)
    chair = count_classes(forty)[CLASSES.index("chair")]
    assert chair == count_classes(ten)[ten.classes.index("chair")] == (889, 100)
    assert {source.name for source in ten.test} < {source.name for source in forty.test}


def test_meshes_of_modelnet10(shared_data: Path, tmp_path: Path) -> None:
    unpack(shared_data / "modelnet10_off5.tar.xz", tmp_path, lambda name: True)
    with pytest.warns(
        UserWarning, match=r"5 training and 0 test shapes in 1 classes, modelnet10 3,991 and 908 in 10"
    ):
        collection = load_collection("modelnet10", tmp_path)
    assert collection.kind == "meshes" and collection.train[0].name == "bathtub/bathtub_0001"
    train, test = load_clouds(collection, points=256)
    assert train.points.shape == (5, 256, 3) and len(test) == 0
    assert (train.points.norm(dim=2) <= 1 + 1e-6).all()
    extent = train.points.amax(1) - train.points.amin(1)  # (5, 3)
    assert (extent[:, 2] < extent[:, :2].amax(1)).all()  # a bathtub is longer than high


def test_meshes_of_the_princeton_shape_benchmark(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "psb_meshes.tar.xz"
    unpack(archive, tmp_path / "all", lambda name: True, empty=True)
    (root,) = (tmp_path / "all").iterdir()
    with pytest.warns(
        UserWarning, match=r"45 classes of fewer than 20 shapes left out, with 459 shapes: Airc"
    ):
        collection = load_collection("folder", root, min_class=20)
    assert (len(collection.classes), len(collection.train), len(collection.test)) == (21, 598, 152)
    assert count_classes(collection)[collection.classes.index("Jet")] == (90, 23)

    unpack(archive, tmp_path, lambda name: "/Guitar/" in name or "/Hat/" in name)
    few = load_collection("folder", tmp_path / root.name)
    train, test = load_clouds(few, points=256)
    assert train.points.shape == (11, 256, 3) and test.points.shape == (2, 256, 3)
    assert train.failures == test.failures == ()

    models = {
        name: [path.name for path in (tmp_path / root.name / name).iterdir()] for name in ("Guitar", "Hat")
    }
    (tmp_path / root.name / "all.cla").write_text(cla_text([(name, "0", models[name]) for name in models]))
    psb = load_collection("psb", tmp_path / root.name)
    assert count_classes(psb) == count_classes(few)
    assert {source.path for source in (*psb.train, *psb.test)} == {
        source.path for source in (*few.train, *few.test)
    }
