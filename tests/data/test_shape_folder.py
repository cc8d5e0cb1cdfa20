"""Class folders of files of shapes."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from batchot.data import DataError
from batchot.data.sets import shape_files
from batchot.data.sets.by_name import load_collection
from batchot.data.sets.shape_files import ShapeCollection
from batchot.data.sets.shape_folder import collection_of, load_shape_folder
from batchot.shapes.shape import Mesh
from batchot.shapes.source import ShapeSource
from data.shape_formats import box_obj, cloud, count_classes
from oracles import cad_files
from oracles.engine_workers import FragileCounter


@pytest.fixture(autouse=True)
def no_warnings_but_expected_ones() -> None:
    warnings.simplefilter("error")


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def named(sources: Sequence[ShapeSource], collection: ShapeCollection) -> dict[str, str]:
    return {source.name: collection.classes[source.label] for source in sources}


def test_class_split_file(tmp_path: Path) -> None:
    touch(tmp_path, "cup/train/a.off", "cup/test/b.off", "pan/train/a.off", "pan/test/deep/er/c.obj")
    collection = load_shape_folder(tmp_path)
    assert collection.classes == ("cup", "pan") and collection.kind == "meshes"
    assert named(collection.train, collection) == {"cup/a": "cup", "pan/a": "pan"}
    assert named(collection.test, collection) == {"cup/b": "cup", "pan/deep/er/c": "pan"}
    assert [source.path for source in collection.train] == [
        tmp_path / "cup/train/a.off",
        tmp_path / "pan/train/a.off",
    ]


def test_split_class_file(tmp_path: Path) -> None:
    touch(tmp_path, "train/cup/a.off", "test/cup/a.off", "train/pan/b.off", "test/pan/c.off")
    collection = load_shape_folder(tmp_path)
    # The same name in both parts: then the part is a part of the name.
    assert named(collection.train, collection) == {"train/cup/a.off": "cup", "pan/b": "pan"}
    assert named(collection.test, collection) == {"test/cup/a.off": "cup", "pan/c": "pan"}


def test_class_file_by_chance(tmp_path: Path) -> None:
    touch(tmp_path, *(f"cup/{k}.off" for k in range(10)), *(f"pan/{k}.off" for k in range(5)))
    collection = load_collection("folder", tmp_path, test_fraction=0.4, seed=3)
    assert count_classes(collection) == ((6, 4), (3, 2))
    names = {source.name for source in collection.test}
    assert names == {source.name for source in load_shape_folder(tmp_path, test_fraction=0.4, seed=3).test}
    assert names != {source.name for source in load_shape_folder(tmp_path, test_fraction=0.4, seed=4).test}
    touch(tmp_path, *(f"mug/{k}.off" for k in range(7)))
    more = load_shape_folder(tmp_path, test_fraction=0.4, seed=3)
    assert {source.name for source in more.test if "mug" not in source.name} == names


def test_split_does_not_depend_on_the_order_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"cup/{k}.off" for k in range(20)))
    expected = load_shape_folder(tmp_path)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self.entries = list(entries)[::-1]

        def __enter__(self) -> Backwards:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def __iter__(self) -> object:
            return iter(self.entries)

        def close(self) -> None:
            self.entries = []

    monkeypatch.setattr(os, "scandir", Backwards)
    assert load_shape_folder(tmp_path) == expected


def test_class_of_one(tmp_path: Path) -> None:
    touch(tmp_path, "cup/0.off", *(f"pan/{k}.off" for k in range(4)))
    with pytest.warns(UserWarning, match=r"1 classes without a test shape: cup"):
        collection = load_shape_folder(tmp_path, test_fraction=0.5)
    assert count_classes(collection) == ((1, 0), (2, 2))


def test_small_classes(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{k}.off" for name, n in (("a", 2), ("b", 5), ("c", 3)) for k in range(n)))
    with pytest.warns(
        UserWarning, match=r"2 classes of fewer than 4 shapes left out.*5 shapes: a \(2\), c \(3\)"
    ):
        collection = load_collection("folder", tmp_path, min_class=4)
    assert collection.classes == ("b",) and {source.label for source in collection.train} == {0}
    with pytest.raises(
        DataError, match=r"3 classes of fewer than 9 .* none remains: a \(2\), b \(5\), c \(3\)"
    ):
        load_shape_folder(tmp_path, min_class=9)


def test_what_is_no_shape_is_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "cup/a.off", "cup/b.off", "cup/a.mtl", "README", "cup/preview.JPG", "cup/x.jpg")
    touch(tmp_path, ".git/c.off", "cup/.hidden.off", "__MACOSX/cup/._a.off")
    with pytest.warns(UserWarning) as caught:
        collection = load_shape_folder(tmp_path)
    assert len(collection) == 2
    (message,) = (str(warning.message) for warning in caught)
    assert "4 files left out that do not have the ending of a shape (2 .jpg, 1 no ending, 1 .mtl)" in message
    assert "README" in message and "cup/preview.JPG" in message and "hidden" not in message


def test_shapes_in_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "stray.off", "cup/a.off", "cup/b.off")
    with pytest.warns(UserWarning, match=r"1 shapes left out that lie in no class or part: stray\.off"):
        assert len(load_shape_folder(tmp_path)) == 2
    touch(tmp_path, "train/cup/a.off", "test/cup/b.off")
    with pytest.warns(UserWarning, match=r"3 shapes left out that lie in no class or part: "):
        assert len(load_shape_folder(tmp_path)) == 2


def test_class_of_trains(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.off", "train/b.off", "car/a.off", "car/b.off")
    assert load_shape_folder(tmp_path).classes == ("car", "train")


def test_parts_that_do_not_agree(tmp_path: Path) -> None:
    touch(tmp_path / "one", "train/cup/a.off", "pan/b.off")
    with pytest.raises(DataError, match=r"has shapes in train/ but not in the other of train/ and test/"):
        load_shape_folder(tmp_path / "one")
    touch(tmp_path / "two", "cup/train/a.off", "cup/test/a.off", "pan/b.off")
    with pytest.raises(DataError, match=r"the classes pan have no train/ or test/, but cup have"):
        load_shape_folder(tmp_path / "two")
    touch(tmp_path / "three", "cup/test/a.off")
    with (
        pytest.raises(DataError, match=r"has no training shape"),
        pytest.warns(UserWarning, match=r"1 classes without a train shape: cup"),
    ):
        load_shape_folder(tmp_path / "three")


def test_two_formats_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "cup/a.off", "cup/a.obj", "cup/b.off")
    collection = load_shape_folder(tmp_path)
    assert {source.name for source in (*collection.train, *collection.test)} == {
        "cup/a.off",
        "cup/a.obj",
        "cup/b",
    }


def test_names_with_spaces_and_other_scripts(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Stühle") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{apart}/Stuhl 1.off", f"{apart}/Stuhl 2.OFF", "椅子/一.off", "椅子/二 .off")
    collection = load_shape_folder(tmp_path)
    names = {source.name for source in (*collection.train, *collection.test)}
    assert names == {f"{composed}/Stuhl 1", f"{composed}/Stuhl 2", "椅子/一", "椅子/二 "}
    assert all(source.path.is_file() for source in collection.train)


def test_name_that_is_no_text(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/cup"
    os.mkdir(folder)
    for name in (b"/\xff.off", b"/b.off"):
        try:
            open(folder + name, "w").close()
        except OSError:
            pytest.skip("this disk takes text only")
    collection = load_shape_folder(tmp_path)
    assert [source.content() for source in (*collection.train, *collection.test)] == [b"", b""]


def test_links(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "c.off")
    root = touch(tmp_path / "root", "cup/a.off", "cup/b.off")
    (root / "cup" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "cup" / "again").symlink_to(root / "cup")
    (root / "cup" / "above").symlink_to(tmp_path)
    (root / "cup" / "nowhere.off").symlink_to(root / "missing.off")
    (root / "cup" / "itself.off").symlink_to(root / "cup" / "itself.off")
    with pytest.warns(
        UserWarning, match=r"4 folders or links left out that cannot be read or lead in a circle"
    ):
        collection = load_shape_folder(root)
    assert {source.name for source in (*collection.train, *collection.test)} == {
        "cup/a",
        "cup/b",
        "cup/more/c",
    }


def test_kind(tmp_path: Path) -> None:
    for k in range(2):
        touch(tmp_path, "mesh/a.txt")
        (tmp_path / "mesh" / f"{k}.obj").write_bytes(box_obj())
        (tmp_path / "mesh" / f"{k}.ply").write_text("ply\nformat ascii 1.0\nelement face 12\nend_header\n")
        (tmp_path / "points").mkdir(exist_ok=True)
        np.save(tmp_path / "points" / f"{k}.npy", cloud(k))
        (tmp_path / "points" / f"{k}.ply").write_text("ply\nelement vertex 9\nelement face 0\nend_header\n")
    (tmp_path / "mesh" / "a.txt").unlink()
    collection = load_shape_folder(tmp_path)
    assert collection.kind == "mixed"
    assert load_shape_folder(_only(tmp_path, "mesh")).kind == "meshes"
    assert load_shape_folder(_only(tmp_path, "points")).kind == "points"


def _only(root: Path, name: str) -> Path:
    folder = root.parent / f"only-{name}"
    folder.mkdir()
    (root / name).rename(folder / name)
    return folder


def test_up_is_handed_on(tmp_path: Path) -> None:
    touch(tmp_path, "cup/a.off", "cup/b.off")
    assert {source.up for source in load_collection("folder", tmp_path, up="y").train} == {"y"}


def test_parts_of_assemblies_are_shapes_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that cannot be read, or bring their reader down, are one shape, which the reading of it says."""
    pytest.importorskip("cascadio")
    made = {"two": cad_files.step([(0, 0, 0), (9, 0, 0)]), "one": cad_files.step(), "cut": b"ISO-10303-21;"}
    made["killer"] = made["two"].replace(b"two", b"die")
    for name, content in made.items():
        (tmp_path / "box").mkdir(exist_ok=True)
        (tmp_path / "box" / f"{name}.step").write_bytes(content)
    monkeypatch.setattr(shape_files, "PartCounter", FragileCounter)
    assert len(load_shape_folder(tmp_path).train) + len(load_shape_folder(tmp_path).test) == 4
    found = collection_of(tmp_path, parts=True, tolerance=0.01)
    sources = {source.name: source for source in (*found.train, *found.test)}
    assert set(sources) == {"box/cut", "box/killer", "box/one", "box/two#0", "box/two#1"}
    one, other = sources["box/two#0"], sources["box/two#1"]
    assert one.ending == ".step" and one.tolerance == 0.01 and one.location.endswith("two.step#0")
    assert one.sha256() != other.sha256()
    for source in (one, other, sources["box/one"]):
        shape = source.load()
        assert isinstance(shape, Mesh) and len(shape.faces) == 12
        np.testing.assert_allclose(
            np.ptp(shape.vertices, axis=0), np.array([1, 2, 3]) * 2 / np.sqrt(14), atol=1e-6
        )


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing is not a folder; expected a folder with CLASS/FILE"):
        load_shape_folder(tmp_path / "missing")
    with pytest.raises(DataError, match=r"holds no shapes; expected .*\.glb .*\.off"):
        load_shape_folder(tmp_path)
    touch(tmp_path, "a.off")
    with (
        pytest.raises(DataError, match=r"none in the folder of a class"),
        pytest.warns(UserWarning, match=r"1 shapes left out"),
    ):
        load_shape_folder(tmp_path)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_fraction_out_of_range(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(DataError, match=r"test_fraction must lie between 0 and 1"):
        load_shape_folder(touch(tmp_path, "cup/a.off"), test_fraction=fraction)
