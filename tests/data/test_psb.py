"""The Princeton Shape Benchmark."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from batchot.data import DataError
from batchot.data.sets.by_name import load_collection
from batchot.data.sets.psb import load_psb
from batchot.shapes import Mesh
from data.shape_formats import box_obj, box_off, cla_text, count_classes, write_psb_models

TRAIN = [
    ("animal", "0", []),
    ("dog", "animal", ["86", "87"]),
    ("horse", "animal", ["103"]),
    ("car", "0", ["1500"]),
]
TEST = [
    ("animal", "0", []),
    ("dog", "animal", ["88"]),
    ("cow", "animal", ["1200", "1201"]),
    ("car", "0", ["1501"]),
]


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """As published: ``classification/v1/base/`` beside ``db/``, here in ``psb/benchmark/``."""
    folder = tmp_path / "psb" / "benchmark"
    base = folder / "classification" / "v1" / "base"
    base.mkdir(parents=True)
    (base / "train.cla").write_text(cla_text(TRAIN, "\r\n"))
    (base / "test.cla").write_text(cla_text(TEST))
    write_psb_models(folder, [86, 87, 88, 103, 1200, 1201, 1500, 1501])
    return tmp_path


def test_as_published(benchmark: Path) -> None:
    with pytest.warns(UserWarning) as caught:
        collection = load_collection("psb", benchmark)
    assert [str(warning.message).split(": ", 1)[1] for warning in caught] == [
        "1 classes without a train shape: cow",
        "1 classes without a test shape: horse",
    ]
    assert collection.classes == ("car", "cow", "dog", "horse")
    assert [source.name for source in collection.train] == ["car/1500", "dog/86", "dog/87", "horse/103"]
    assert [source.name for source in collection.test] == ["car/1501", "cow/1200", "cow/1201", "dog/88"]
    assert [collection.classes[source.label] for source in collection.test] == ["car", "cow", "cow", "dog"]
    assert collection.train[1].path == benchmark / "psb/benchmark/db/0/m86/m86.off"
    assert collection.train[0].path == benchmark / "psb/benchmark/db/15/m1500/m1500.off"
    mesh = collection.train[2].load()
    assert isinstance(mesh, Mesh)
    assert mesh.vertices[:, 2].max() < mesh.vertices[:, 1].max()  # the long side, z, no longer points up


def test_coarser_classes(benchmark: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collection = load_collection("psb", benchmark, level=1)
    assert collection.classes == ("animal", "car")
    assert count_classes(collection) == ((3, 3), (1, 1))


def test_other_classification(benchmark: Path) -> None:
    coarse = benchmark / "psb/benchmark/classification/v1/coarse3"
    coarse.mkdir()
    (coarse / "train.cla").write_text(cla_text([("natural", "0", ["86"]), ("made", "0", ["1500"])]))
    (coarse / "test.cla").write_text(cla_text([("natural", "0", ["88"]), ("made", "0", ["1501"])]))
    assert load_psb(benchmark, classification="coarse3").classes == ("made", "natural")


def test_one_file_divided_by_chance(tmp_path: Path) -> None:
    (tmp_path / "all.cla").write_text(cla_text([("dog", "0", ["1", "m2", "m3.off", "M000004", "D00005"])]))
    for name in ("m1.obj", "m2.off", "m2.obj", "3.ply", "D00005.obj"):
        (tmp_path / name).write_bytes(box_obj())
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "M000004.off").write_bytes(box_off())
    collection = load_psb(tmp_path, test_fraction=0.4)
    assert count_classes(collection) == ((3, 2),)
    found = {source.name: source.path.name for source in (*collection.train, *collection.test)}
    assert found == {
        "dog/1": "m1.obj",
        "dog/2": "m2.off",
        "dog/3": "3.ply",
        "dog/4": "M000004.off",
        "dog/D00005": "D00005.obj",
    }
    assert load_psb(tmp_path, test_fraction=0.4) == collection
    tests = {load_psb(tmp_path, test_fraction=0.4, seed=seed).test for seed in range(8)}
    assert len(tests) > 1


def test_missing_models_are_counted_and_named(benchmark: Path) -> None:
    for model in ("86", "1201"):
        number = int(model)
        (benchmark / f"psb/benchmark/db/{number // 100}/m{model}/m{model}.off").unlink()
    with pytest.warns(UserWarning, match=r"benchmark: 2 of 8 models are missing and left out: 86, 1201"):
        assert len(load_psb(benchmark, level=1)) == 6


def test_all_models_missing(tmp_path: Path) -> None:
    (tmp_path / "all.cla").write_text(cla_text([("dog", "0", [str(k) for k in range(8)])]))
    with pytest.raises(
        DataError, match=r"none of the 8 models that .*all\.cla names .*0, 1, 2, 3, 4 and 3 more"
    ):
        load_psb(tmp_path)


def test_min_class(benchmark: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"3 classes of fewer than 3 shapes.*car \(2\), cow \(2\), horse \(1\)"
    ):
        assert load_collection("psb", benchmark, min_class=3).classes == ("dog",)


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"psb was not found: looked for classification/v1/base/train\.cla"):
        load_psb(tmp_path)
    with pytest.raises(DataError, match=r"level must be at least 1"):
        load_psb(tmp_path, level=0)
    with pytest.raises(DataError, match=r"test_fraction must lie between 0 and 1"):
        load_psb(tmp_path, test_fraction=1.0)
    for name in ("one.cla", "two.cla"):
        (tmp_path / name).write_text(cla_text([("dog", "0", ["1"])]))
    with pytest.raises(
        DataError, match=r"has 2 \.cla files \(one\.cla, two\.cla\); expected one, or train\.cla"
    ):
        load_psb(tmp_path)
    (tmp_path / "two.cla").unlink()
    (tmp_path / "one.cla").write_text("PSB 1\n1 two")
    with pytest.raises(DataError, match=r"one\.cla, line 2: expected the number of models, got 'two'"):
        load_psb(tmp_path)
