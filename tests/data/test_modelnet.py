"""ModelNet in all forms in which it is at hand."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from batchot.data import DataError
from batchot.data.sets import modelnet
from batchot.data.sets.by_name import load_collection
from batchot.data.sets.modelnet import CLASSES, CLASSES_10, load_modelnet
from batchot.data.sets.places import cache_folder
from batchot.data.sets.shape_files import ShapeCollection
from batchot.shapes import Mesh
from batchot.shapes.source import ShapeSource
from data.shape_formats import (
    pack,
    write_hdf5_folder,
    write_modelnet_folder,
    write_modelnet_zip,
    write_point_folder,
)

COUNTS = {"bathtub": (2, 1), "chair": (3, 2), "night_stand": (2, 2), "vase": (1, 1)}
CHAIRS_10 = {"bathtub": (2, 1), "chair": (3, 2), "night_stand": (2, 2)}


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ModelNet were as small as the data of these tests; any warning is an error then."""
    monkeypatch.setattr(modelnet, "COUNTS", {"modelnet40": (8, 6), "modelnet10": (7, 5)})
    monkeypatch.setattr(modelnet, "HDF5_COUNTS", (6, 3))
    warnings.simplefilter("error")


def names(sources: Sequence[ShapeSource], collection: ShapeCollection) -> list[tuple[str, str]]:
    return [(source.name, collection.classes[source.label]) for source in sources]


def expected(counts: dict[str, tuple[int, int]], part: int) -> list[tuple[str, str]]:
    return [
        (f"{name}/{name}_{k:04}", name)
        for name, (train, test) in counts.items()
        for k in (range(1, train + 1) if part == 0 else range(train + 1, train + test + 1))
    ]


def write(form: str, root: Path) -> Path:
    """ModelNet40 in a form, where it is looked for under ``root``; the place in which it lies."""
    if form == "zip":
        return write_modelnet_zip(root / "ModelNet40.zip", COUNTS)
    if form == "unpacked":
        return write_modelnet_folder(root / "ModelNet40", COUNTS)
    if form == "in a folder of its name":
        return write_modelnet_folder(root / "modelnet40", COUNTS)
    return write_point_folder(root / "modelnet40_points", COUNTS)


FORMS = ("zip", "unpacked", "in a folder of its name", "points")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("official")
def test_every_form_gives_the_same_names_and_parts(tmp_path: Path, form: str) -> None:
    place = write(form, tmp_path)
    collection = load_collection("modelnet40", tmp_path)
    assert collection.name == "modelnet40" and collection.folder == place
    assert collection.classes == tuple(COUNTS)
    assert names(collection.train, collection) == expected(COUNTS, 0)
    assert names(collection.test, collection) == expected(COUNTS, 1)
    assert collection.kind == ("points" if form == "points" else "meshes")
    for source in (*collection.train, *collection.test):
        assert source.load() is not None


@pytest.mark.usefixtures("official")
def test_archive_is_read_in_place(tmp_path: Path) -> None:
    archive = write("zip", tmp_path)
    collection = load_modelnet("modelnet40", tmp_path)
    heights = []
    for source in collection.train:
        mesh = source.load()
        assert isinstance(mesh, Mesh)
        extent = np.ptp(mesh.vertices, axis=0)
        heights.append(round(extent[2] / extent[0]))
    assert heights == [1, 2, 4, 5, 6, 9, 10, 13]  # what the file of each shape says
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("official")
def test_modelnet10_is_a_part_of_modelnet40(tmp_path: Path, form: str) -> None:
    write(form, tmp_path)
    collection = load_collection("modelnet10", tmp_path)
    assert collection.name == "modelnet10" and collection.classes == ("bathtub", "chair", "night_stand")
    assert names(collection.train, collection) == expected(CHAIRS_10, 0)
    assert names(collection.test, collection) == expected(CHAIRS_10, 1)


def write_clouds(folder: Path) -> Path:
    """Six clouds for training in two files, three for the test, of classes 1 (bathtub), 8, 23 and 37 (vase)."""
    labels = {"train0": [8, 1, 8, 37], "train1": [23, 1], "test0": [37, 8, 1]}
    return write_hdf5_folder(folder, list(CLASSES), labels)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.usefixtures("official")
def test_hdf5_clouds(tmp_path: Path, packed: bool) -> None:
    folder = write_clouds(tmp_path / "modelnet40_ply_hdf5_2048")
    if packed:
        pack(folder, tmp_path / "modelnet40_ply_hdf5_2048.zip")
        for file in folder.iterdir():
            file.unlink()
    collection = load_modelnet("modelnet40", tmp_path)
    assert collection.kind == "points"
    assert collection.classes == ("bathtub", "chair", "night_stand", "vase")
    assert names(collection.train, collection) == [
        ("chair/chair_0001", "chair"),
        ("bathtub/bathtub_0002", "bathtub"),
        ("chair/chair_0003", "chair"),
        ("vase/vase_0004", "vase"),
        ("night_stand/night_stand_0005", "night_stand"),
        ("bathtub/bathtub_0006", "bathtub"),
    ]
    assert [name for name, _ in names(collection.test, collection)] == [
        "vase/vase_0007",
        "chair/chair_0008",
        "bathtub/bathtub_0009",
    ]
    assert {source.up for source in collection.train} == {"y"}
    for k, source in enumerate((*collection.train, *collection.test)):
        stored = source.stored_points()
        assert stored is not None
        np.testing.assert_array_equal(
            stored, np.random.default_rng(k).normal(scale=0.3, size=(32, 3)).astype("f4")
        )
    ten = load_modelnet("modelnet10", tmp_path)
    assert len(ten.train) == 5 and len(ten.test) == 2
    assert load_modelnet("modelnet40", tmp_path, up="z").train[0].up == "z"


@pytest.mark.usefixtures("official")
def test_hdf5_clouds_without_the_files_beside_them(tmp_path: Path) -> None:
    folder = write_clouds(tmp_path / "modelnet40_ply_hdf5_2048")
    for file in folder.iterdir():
        if file.suffix != ".h5":
            file.unlink()
    collection = load_modelnet("modelnet40", tmp_path)
    assert [source.name for source in collection.test] == [
        "vase/test0_0000",
        "chair/test0_0001",
        "bathtub/test0_0002",
    ]


def test_damaged_hdf5(tmp_path: Path) -> None:
    folder = write_clouds(tmp_path / "modelnet40_ply_hdf5_2048")
    with h5py.File(folder / "ply_data_train1.h5", "a") as file:
        file["label"][0, 0] = 40
    with pytest.raises(
        DataError, match=r"ply_data_train1\.h5 has labels from 1 to 40, but there are 40 classes"
    ):
        load_modelnet("modelnet40", tmp_path)
    path = folder / "ply_data_train0.h5"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"ply_data_train0\.h5: cannot be read as HDF5"):
        load_modelnet("modelnet40", tmp_path)


@pytest.mark.usefixtures("official")
def test_meshes_or_points(tmp_path: Path) -> None:
    for form in ("unpacked", "points"):
        write(form, tmp_path)
    assert load_collection("modelnet40", tmp_path).kind == "meshes"
    assert load_collection("modelnet40", tmp_path, prefer="meshes").kind == "meshes"
    assert load_collection("modelnet40", tmp_path, prefer="points").kind == "points"
    with pytest.raises(
        DataError, match=r"looked for modelnet40_ply_hdf5_2048/ or its zip, modelnet40_points/CLASS"
    ):
        load_collection(
            "modelnet40", write("zip", tmp_path / "ModelNet40").parent, prefer="points", download=False
        )


@pytest.mark.parametrize("name", ["ModelNet40", "modelnet40_points"])
@pytest.mark.usefixtures("official")
def test_root_may_be_the_folder_itself(tmp_path: Path, name: str) -> None:
    writer = write_modelnet_folder if name == "ModelNet40" else write_point_folder
    assert len(load_modelnet("modelnet40", writer(tmp_path / name, COUNTS))) == 14


def test_what_is_missing_is_said_in_numbers(tmp_path: Path) -> None:
    write("unpacked", tmp_path)
    with pytest.warns(
        UserWarning,
        match=r"ModelNet40 holds 8 training and 6 test shapes in 4 classes, modelnet40 9,843 and 2,468 in 40: scores",
    ):
        load_modelnet("modelnet40", tmp_path)


@pytest.mark.usefixtures("official")
def test_complete_data_goes_before_a_part_of_it_beside_it(tmp_path: Path) -> None:
    write_modelnet_folder(tmp_path / "ModelNet10", {"bathtub": (2, 0)})
    write("points", tmp_path)
    collection = load_modelnet("modelnet10", tmp_path)
    assert len(collection) == 12 and collection.kind == "points"


def test_part_in_the_folder_of_the_user_goes_before_complete_data_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelnet, "COUNTS", {"modelnet40": (8, 6), "modelnet10": (7, 5)})
    write("zip", _made(cache_folder() / "modelnet40"))
    assert len(load_modelnet("modelnet40")) == 14
    write_modelnet_folder(tmp_path / "ModelNet40", {"chair": (2, 1)})
    with pytest.warns(
        UserWarning, match=r"2 training and 1 test shapes in 1 classes, modelnet40 8 and 6 in 40"
    ):
        assert len(load_modelnet("modelnet40", tmp_path)) == 3


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.usefixtures("official")
def test_two_formats_side_by_side_count_once(tmp_path: Path) -> None:
    folder = write("unpacked", tmp_path)
    (folder / "chair/train/chair_0001.obj").write_bytes(b"v 0 0 0\n")
    (folder / "chair/train/.chair_0009.off").touch()
    assert len(load_modelnet("modelnet40", tmp_path)) == 14


def test_archive_that_is_half_there_or_another(tmp_path: Path) -> None:
    archive = write("zip", tmp_path)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(
        DataError, match=r"ModelNet40\.zip is damaged or half downloaded \(.*bytes are there\)\. Del"
    ):
        load_modelnet("modelnet40", tmp_path)
    (tmp_path / "notes.txt").touch()
    archive.unlink()
    pack(_made(tmp_path / "elsewhere"), archive)
    with pytest.raises(DataError, match=r"ModelNet40\.zip holds no CLASS/train/NAME\.off of ModelNet"):
        load_modelnet("modelnet40", tmp_path)


def test_found_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_modelnet("modelnet10", tmp_path, download=False)
    message = str(error.value)
    assert "modelnet10 was not found: looked for ModelNet10.zip, ModelNet10/CLASS/train/NAME.off" in message
    assert f"  {tmp_path / 'modelnet10'}\n  {tmp_path}\n  {cache_folder() / 'modelnet10'}" in message
    assert "download is switched off" in message


@pytest.mark.parametrize(
    ("name", "prefer", "constant", "home"),
    [
        ("modelnet40", "any", "MESHES_40", "modelnet40"),
        ("modelnet10", "meshes", "MESHES_10", "modelnet10"),
        ("modelnet40", "points", "POINTS_40", "modelnet40"),
        ("modelnet10", "points", "POINTS_40", "modelnet40"),
    ],
)
@pytest.mark.usefixtures("official")
def test_download(
    web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, prefer: str, constant: str, home: str
) -> None:
    published = getattr(modelnet, constant)
    if constant == "POINTS_40":
        made = pack(write_clouds(tmp_path / "modelnet40_ply_hdf5_2048"), tmp_path / published.name)
    else:
        counts = CHAIRS_10 if name == "modelnet10" else COUNTS
        made = write_modelnet_zip(tmp_path / published.name, counts)
    content = made.read_bytes()
    web.files |= {"/first": b"damaged", "/second": content}
    addresses = (web.address("/first"), web.address("/second"))
    archive = replace(published, urls=addresses, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(modelnet, constant, archive)
    collection = load_modelnet(name, prefer=prefer)  # type: ignore[arg-type]
    assert web.asked_for == ["/first", "/second"]
    assert collection.folder == cache_folder() / home / published.name
    assert collection.folder.read_bytes() == content
    assert load_modelnet(name, prefer=prefer) == collection  # type: ignore[arg-type]
    assert web.asked_for == ["/first", "/second"]
    assert set(collection.classes) <= set(CLASSES_10 if name == "modelnet10" else CLASSES)


def test_download_with_a_wrong_checksum(web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["/ModelNet10.zip"] = b"damaged"
    archive = replace(modelnet.MESHES_10, urls=(web.address("/ModelNet10.zip"),))
    monkeypatch.setattr(modelnet, "MESHES_10", archive)
    with pytest.raises(DataError, match=r"modelnet10 was not found(.|\n)*SHA256 hash"):
        load_modelnet("modelnet10")
    assert not list(cache_folder().rglob("*.zip"))


def test_published_archives_are_told_apart_by_checksums() -> None:
    archives = (modelnet.MESHES_10, modelnet.MESHES_40, modelnet.POINTS_40)
    assert all(len(archive.sha256) == 64 and int(archive.sha256, 16) for archive in archives)
    assert len({archive.sha256 for archive in archives}) == 3
    assert len(CLASSES) == len(set(CLASSES)) == 40 and tuple(sorted(CLASSES)) == CLASSES
    assert len(CLASSES_10) == 10 and set(CLASSES_10) < set(CLASSES)
