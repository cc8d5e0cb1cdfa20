"""SHREC'13 and SHREC'14 in the layouts in which they are published; lists and what they miss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from batchot.data import DataError, Images, Splits, load_shrec_shapes, load_shrec_sketches, pair_classes
from batchot.data.sets.shrec import Year
from data.shape_formats import count_classes
from data.shrec_formats import (
    CLASSES,
    MODELS,
    OFF,
    SKETCHES,
    author_lists,
    shrec13,
    shrec14,
    write,
    write_zipped,
)

Write = Callable[[Path, dict[str, bytes]], Path]
FILES: dict[Year, Callable[[], dict[str, bytes]]] = {13: shrec13, 14: shrec14}


def names_of(part: str) -> set[str]:
    return {f"{name}/{number}" for name, numbers in SKETCHES[part].items() for number in numbers}


def assert_whole(splits: Splits[Images]) -> None:
    assert splits.train.classes == CLASSES
    for part, images in (("train", splits.train), ("test", splits.test)):
        assert set(images.names) == names_of(part)
        assert [images.classes[label] for label in images.labels] == [
            name.split("/")[0] for name in images.names
        ]
        assert images.images.shape[1:] == (1, 32, 32)
        assert bool((images.images == 0).any((1, 2, 3)).all())


@pytest.mark.parametrize("year", [13, 14])
@pytest.mark.parametrize("how", [write, write_zipped])
@pytest.mark.parametrize("below", ["", "shrec{}", "SHREC{}/data"])
def test_published_layout(tmp_path: Path, year: Year, how: Write, below: str) -> None:
    root = tmp_path / below.format(year)
    root.mkdir(parents=True, exist_ok=True)
    how(root, FILES[year]())
    given = tmp_path if below != "SHREC{}/data" else tmp_path / below.split("/")[0].format(year)
    told: list[str] = []
    splits = load_shrec_sketches(year, given, size=32, tell=told.append)
    assert_whole(splits)
    shapes = load_shrec_shapes(year, given, tell=told.append)
    assert shapes.classes == CLASSES and shapes.test == () and shapes.kind == "meshes"
    assert count_classes(shapes) == tuple((len(MODELS[name]), 0) for name in CLASSES)
    number = "m3" if year == 13 else "M000003"
    (three,) = (source for source in shapes.train if source.name == f"airplane/{number}")
    assert three.content() == OFF and three.up == "y" and shapes.classes[three.label] == "airplane"
    # Nothing is missing, but it is said that this is not the whole benchmark.
    assert len(told) == 2 and all("scores on it are not SHREC scores" in text for text in told)
    assert load_shrec_shapes(year, given, up="z", tell=told.append).train[0].up == "z"


def test_both_years_side_by_side_are_kept_apart(tmp_path: Path) -> None:
    only_13 = {name.replace("/1.png", "/9999.png"): content for name, content in shrec13().items()}
    only_13 = {name: content for name, content in only_13.items() if not name.endswith(".cla")}
    write(tmp_path, {**only_13, **shrec14()})
    told: list[str] = []
    names_13 = load_shrec_sketches(13, tmp_path, size=16, tell=told.append).train.names
    names_14 = load_shrec_sketches(14, tmp_path, size=16, tell=told.append).train.names
    assert "airplane/9999" in names_13 and "airplane/9999" not in names_14
    assert {source.name for source in load_shrec_shapes(14, tmp_path, tell=told.append).train} == {
        f"{name}/M{k:06d}" for name, ks in MODELS.items() for k in ks
    }


def test_same_from_archives_and_folders(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir(), b.mkdir()
    told: list[str] = []
    unpacked, packed = (
        load_shrec_sketches(14, root, size=32, tell=told.append)
        for root in (write(a, shrec14()), write_zipped(b, shrec14()))
    )
    assert unpacked.train.names == packed.train.names
    assert torch.equal(unpacked.train.images, packed.train.images)
    write_zipped(a, shrec14())  # both in one place: every sketch counts once
    both = load_shrec_sketches(14, a, size=32, tell=told.append)
    assert both.train.names == unpacked.train.names
    assert len(load_shrec_shapes(14, a, tell=told.append)) == 6


def test_a_folder_of_links(tmp_path: Path) -> None:
    real, linked = write(tmp_path / "real", shrec13()), tmp_path / "linked"
    linked.mkdir()
    for path in real.iterdir():
        (linked / path.name).symlink_to(path)
    (next(path for path in real.iterdir() if path.is_dir()) / "back").symlink_to(real)
    told: list[str] = []
    assert_whole(load_shrec_sketches(13, linked, size=32, tell=told.append))
    assert len(load_shrec_shapes(13, linked, tell=told.append)) == 6


def test_lists_divide_and_are_followed(tmp_path: Path) -> None:
    """A list that has the sketch 10 in the test part goes before the folder that it lies in."""
    files = {name: content for name, content in shrec14().items() if not name.endswith(".cla")}
    lists = author_lists()
    moved = b"/data/someone/features/mat/airplane/train/10.mat 0\n"
    lists["sketchTrain.txt"] = lists["sketchTrain.txt"].replace(moved, b"")
    lists["sketchTest.txt"] += moved.replace(b"train", b"test")
    write(tmp_path / "shrec14_lists", lists)
    write(tmp_path, files)
    told: list[str] = []
    splits = load_shrec_sketches(14, tmp_path, size=16, tell=told.append)
    assert "airplane/10" in splits.test.names and "airplane/10" not in splits.train.names
    assert any(
        "1 sketches lie in the folder of the other part" in text and "airplane/train/10" in text
        for text in told
    )
    shapes = load_shrec_shapes(14, tmp_path, tell=told.append)
    assert count_classes(shapes) == ((2, 0), (1, 0), (3, 0))


def test_missing_and_unlisted_are_counted_and_named(tmp_path: Path) -> None:
    files = shrec14()
    nested = "SHREC14LSSTB_SKETCHES/SHREC14LSSTB_SKETCHES"
    del files[f"{nested}/alarm_clock/train/81.png"], files[f"{nested}/airplane/test/14.png"]
    files[f"{nested}/airplane/train/777.png"] = files[f"{nested}/airplane/train/1.png"]
    del files["SHREC14LSSTB_TARGET_MODELS/M000017.off"]
    files["SHREC14LSSTB_TARGET_MODELS/M000999.off"] = OFF
    told: list[str] = []
    splits = load_shrec_sketches(14, write(tmp_path, files), size=16, tell=told.append)
    assert set(splits.train.names) == names_of("train") - {"alarm_clock/81"}
    text = "\n".join(told)
    assert (
        "2 of 9 sketches that SHREC14_SBR_Sketch_Train.cla and SHREC14_SBR_Sketch_Test.cla name are missing"
        in text
    )
    assert "alarm_clock/train/81" in text and "airplane/test/14" in text
    assert (
        "1 sketches that" in text and "do not name are left out" in text and "airplane/train/777.png" in text
    )
    told.clear()
    shapes = load_shrec_shapes(14, tmp_path, tell=told.append)
    assert len(shapes) == 5
    text = "\n".join(told)
    assert "1 of 6 models that SHREC14_SBR_Model.cla name are missing: airplane/000017" in text
    assert "1 models that SHREC14_SBR_Model.cla do not name are left out" in text and "M000999.off" in text


def test_lists_of_other_data(tmp_path: Path) -> None:
    files = shrec14()
    files["SHREC14_Sketch_Evaluation_CVIU/SHREC14_SBR_Model.cla"] = b"PSB 1\n1 1\nteapot 0 1\n424242\n"
    write(tmp_path, files)
    with pytest.raises(
        DataError, match=r"none of the 1 models that SHREC14_SBR_Model.cla name is among the 6 there"
    ):
        load_shrec_shapes(14, tmp_path)


def test_parts_by_the_folder_above_and_by_lists_only(tmp_path: Path) -> None:
    """Sketches without train/ and test/: from SHREC13_SBR_TRAINING_SKETCHES, or from the lists."""
    flat = {
        name.replace("/train/", "/").replace("/test/", "/"): content
        for name, content in shrec13().items()
        if name.endswith(".png")
    }
    told: list[str] = []
    assert_whole(load_shrec_sketches(13, write(tmp_path / "one", flat), size=32, tell=told.append))
    together = {
        f"SHREC13_SKETCHES/{'/'.join(name.split('/')[-2:])}": content for name, content in flat.items()
    }
    with pytest.raises(DataError, match=r"9 sketches lie neither in train/ nor in test/ .*sketchTrain.txt"):
        load_shrec_sketches(13, write(tmp_path / "two", together), size=32, tell=told.append)
    write(tmp_path / "two", author_lists())
    assert_whole(load_shrec_sketches(13, tmp_path / "two", size=32, tell=told.append))


def test_models_without_classes(tmp_path: Path) -> None:
    files = {name: content for name, content in shrec13().items() if name.endswith(".off")}
    with pytest.raises(DataError, match=r"6 models are there, but nothing tells .* SHREC13_SBR_Model.cla"):
        load_shrec_shapes(13, write(tmp_path / "one", files))
    sorted_by_hand = {f"SHREC13_MODELS/{c}/m{k}.off": OFF for c, ks in MODELS.items() for k in ks}
    told: list[str] = []
    shapes = load_shrec_shapes(13, write(tmp_path / "two", sorted_by_hand), tell=told.append)
    assert shapes.classes == CLASSES and len(shapes) == 6


@pytest.mark.parametrize("load", [load_shrec_sketches, load_shrec_shapes])
def test_nothing_there(tmp_path: Path, load: Callable[[Year, Path], object]) -> None:
    write(tmp_path, {"photos/train/cat/1.png": b"", "m1.off": OFF})
    with pytest.raises(DataError, match=r"shrec13 was not found: looked for SHREC13_SBR_T"):
        load(13, tmp_path)
    with pytest.raises(DataError, match=r"shrec14 was not found: looked for SHREC14LSSTB_"):
        load(14, tmp_path)


def test_damaged_archive(tmp_path: Path) -> None:
    write_zipped(tmp_path, shrec14())
    archive = tmp_path / "SHREC14LSSTB_SKETCHES.zip"
    archive.write_bytes(archive.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"SHREC14LSSTB_SKETCHES\.zip is damaged or half downloaded"):
        load_shrec_sketches(14, tmp_path)


def test_warns_where_nobody_is_told(tmp_path: Path) -> None:
    write(tmp_path, shrec13())
    with pytest.warns(
        UserWarning, match=r"6 training and 3 test .* SHREC'13 has 4,500 and 2,700 in 90: scores"
    ):
        load_shrec_sketches(13, tmp_path, size=16)


def test_sketches_and_shapes_share_their_classes(tmp_path: Path) -> None:
    write(tmp_path, shrec14())
    told: list[str] = []
    sketches = load_shrec_sketches(14, tmp_path, size=16, tell=told.append)
    shapes = load_shrec_shapes(14, tmp_path, tell=told.append)
    labels = torch.tensor([source.label for source in shapes.train])
    pixels = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    as_images = Images(pixels, labels, shapes.classes)
    paired = pair_classes({"sketch": sketches, "shape": Splits("shapes", as_images, as_images)})
    assert paired.shared == CLASSES and not paired.near_misses


def test_real_lists_and_sketches(shared_data: Path, tmp_path: Path) -> None:
    """The authors' lists name 13,680 sketches, of which 640 are at hand."""
    unpack = [sys.executable, shared_data / "unpack.py", tmp_path, "shrec14_sketches", "shrec14_lists"]
    subprocess.run(unpack, check=True, capture_output=True)
    told: list[str] = []
    splits = load_shrec_sketches(14, tmp_path, size=16, tell=told.append)
    assert splits.train.labels.bincount().tolist() == [50] * 8
    assert splits.test.labels.bincount().tolist() == [30] * 8
    assert any(text.startswith(f"{tmp_path}: 13,040 of 13,680 sketches") for text in told)
    assert len(told) == 2  # no sketch lies in another part than listed, none is unlisted
