"""Collections as point clouds in memory."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from batchot.data import DataError, clouds
from batchot.data.cloud_reading import CloudReader, CloudSettings, read_cloud
from batchot.data.clouds import Clouds, load_clouds
from batchot.data.sets.modelnet import CLASSES, load_modelnet
from batchot.data.sets.places import cache_folder
from batchot.data.sets.shape_folder import load_shape_folder
from batchot.shapes.source import ShapeSource
from data.shape_formats import box_off, cloud, write_hdf5_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six cups as clouds and six pans as meshes, four of each for training."""
    root = tmp_path / "data"
    for k in range(6):
        part = "train" if k < 4 else "test"
        for name in ("cup", "pan"):
            (root / name / part).mkdir(parents=True, exist_ok=True)
        np.save(root / "cup" / part / f"{k}.npy", cloud(k))
        (root / "pan" / part / f"{k}.off").write_bytes(box_off(height=1 + k))
    return root


class Counter:
    """Names of the shapes that were read and not taken from the cache."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        read = CloudReader.read

        def counting(reader: CloudReader, sources: list[ShapeSource], *rest: object) -> object:
            self.names += [source.name for source in sources]
            return read(reader, sources, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(CloudReader, "read", counting)

    def take(self) -> list[str]:
        names, self.names = self.names, []
        return sorted(names)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


def test_order_labels_and_points(root: Path) -> None:
    collection = load_shape_folder(root)
    train, test = load_clouds(collection, points=16)
    assert train.classes == test.classes == ("cup", "pan")
    assert train.names == ("cup/0", "cup/1", "cup/2", "cup/3", "pan/0", "pan/1", "pan/2", "pan/3")
    assert train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] and test.labels.tolist() == [0, 0, 1, 1]
    assert train.failures == test.failures == ()
    for part, sources in ((train, collection.train), (test, collection.test)):
        for points, source in zip(part.points, sources, strict=True):
            np.testing.assert_array_equal(points, read_cloud(source, CloudSettings(points=16)))


def test_second_time_nothing_is_read(root: Path, reads: Counter) -> None:
    collection = load_shape_folder(root)
    first = load_clouds(collection, points=16)
    assert len(reads.take()) == 12
    again = load_clouds(collection, points=16)
    assert reads.take() == []
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.points, other.points) and one.names == other.names
    load_clouds(collection, points=8)
    load_clouds(collection, points=16, seed=1)
    load_clouds(collection, points=16, choice="farthest")
    load_clouds(collection, points=16, up="y")
    assert len(reads.take()) == 4 * 12
    load_clouds(collection, points=16)
    assert reads.take() == []


def test_only_the_class_of_a_file_that_changed_is_read_again(root: Path, reads: Counter) -> None:
    load_clouds(load_shape_folder(root), points=16)
    path = root / "pan/train/2.off"
    before = path.stat()
    other = path.read_bytes().replace(b"3.0", b"7.0")
    path.write_bytes(other)
    # Same size, and the time set back: as a program does that unpacks or copies with times.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    reads.take()
    train, _ = load_clouds(load_shape_folder(root), points=16)
    assert reads.take() == ["pan/0", "pan/1", "pan/2", "pan/3"]
    source = load_shape_folder(root).train[6]
    np.testing.assert_array_equal(train.points[6], read_cloud(source, CloudSettings(points=16)))


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "swapped"])
def test_other_files_are_never_taken_for_those_in_the_cache(root: Path, change: str) -> None:
    load_clouds(load_shape_folder(root), points=16)
    folder = root / "cup/train"
    if change == "added":
        np.save(folder / "00.npy", cloud(50))
    elif change == "removed":
        (folder / "1.npy").unlink()
    elif change == "renamed":
        (folder / "1.npy").rename(folder / "9.npy")
    else:
        (folder / "1.npy").rename(folder / "x")
        (folder / "2.npy").rename(folder / "1.npy")
        (folder / "x").rename(folder / "2.npy")
    collection = load_shape_folder(root)
    train, _ = load_clouds(collection, points=16)
    for name, points, source in zip(train.names, train.points, collection.train, strict=True):
        assert name == source.name
        np.testing.assert_array_equal(points, read_cloud(source, CloudSettings(points=16)))


def test_folder_named_in_another_way_is_the_same(
    root: Path, reads: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_clouds(load_shape_folder(root), points=16)
    reads.take()
    monkeypatch.chdir(root.parent)
    load_clouds(load_shape_folder(Path("data")), points=16)
    assert reads.take() == []


def test_reading_goes_on_where_it_was_interrupted(
    root: Path, reads: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = CloudReader.read

    def interrupted(reader: CloudReader, sources: list[ShapeSource], *rest: object) -> object:
        if sources[0].name == "pan/0":
            raise KeyboardInterrupt
        return counting(reader, sources, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CloudReader, "read", interrupted)
        load_clouds(load_shape_folder(root), points=16)
    assert reads.take() == ["cup/0", "cup/1", "cup/2", "cup/3"]
    load_clouds(load_shape_folder(root), points=16)
    assert reads.take() == ["cup/4", "cup/5", "pan/0", "pan/1", "pan/2", "pan/3", "pan/4", "pan/5"]


def test_damaged_cache_is_made_anew(root: Path) -> None:
    first, _ = load_clouds(load_shape_folder(root), points=16)
    files = sorted((cache_folder() / "decoded").iterdir())
    assert len(files) == 4
    for file in files:
        file.write_bytes(file.read_bytes()[:-200])
    again, _ = load_clouds(load_shape_folder(root), points=16)
    assert torch.equal(first.points, again.points)


def test_without_a_cache_folder(root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_cache / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_cache / "file"))
    assert len(load_clouds(load_shape_folder(root), points=16)[0]) == 8


def test_what_cannot_be_read_is_left_out_and_named(root: Path, reads: Counter) -> None:
    (root / "cup/train/1.npy").write_bytes(b"")
    (root / "pan/test/4.off").write_bytes(b"OFF\n3 1 0\n0 0 0\n")
    collection = load_shape_folder(root)
    for _ in range(2):  # also where the others come from the cache
        with pytest.warns(UserWarning) as caught:
            train, test = load_clouds(collection, points=16)
        (message,) = (str(warning.message) for warning in caught)
        assert message.startswith("2 of 12 shapes of folder cannot be read and are left out:\n  cup/1: ")
        assert "cup/train/1.npy" in message and "pan/test/4.off" in message
        assert train.names == ("cup/0", "cup/2", "cup/3", "pan/0", "pan/1", "pan/2", "pan/3")
        assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
        assert train.points.isfinite().all() and test.points.isfinite().all()
        assert [failure.name for failure in (*train.failures, *test.failures)] == ["cup/1", "pan/4"]
    assert reads.take().count("cup/0") == 1
    np.save(root / "cup/train/1.npy", cloud(1))
    (root / "pan/test/4.off").write_bytes(box_off())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_clouds(collection, points=16)[0]) == 8


def test_many_failures_are_counted(root: Path) -> None:
    for path in root.glob("*/train/[123].*"):
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"6 of 12 shapes (.|\n)*\n  and 1 more$"):
        load_clouds(load_shape_folder(root), points=16)


def test_class_that_is_left_with_nothing(root: Path) -> None:
    for path in root.glob("cup/train/*"):
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"no training shape is left of the classes cup: 4 of 12 shapes of folder"
    ):
        load_clouds(load_shape_folder(root), points=16)
    with pytest.raises(DataError, match=r"has 32 points, fewer than the 64 asked for"):
        shutil.rmtree(root / "pan")
        load_clouds(load_shape_folder(root), points=64)


def test_no_test_shape_left(root: Path) -> None:
    for path in root.glob("*/test/*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no test shape is left: 4 of 12 shapes"):
        load_clouds(load_shape_folder(root), points=16)


def test_hdf5_clouds(tmp_path: Path, reads: Counter) -> None:
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    write_hdf5_folder(folder, list(CLASSES), {"train0": [8, 1, 8], "train1": [1], "test0": [8]})
    with pytest.warns(UserWarning, match=r"4 training and 1 test"):
        collection = load_modelnet("modelnet40", tmp_path)
    train, test = load_clouds(collection, points=20)
    assert train.labels.tolist() == [1, 0, 1, 0] and test.names == ("chair/chair_0005",)
    for k, points in enumerate((*train.points, *test.points)):
        low, high = cloud(k).min(0), cloud(k).max(0)
        centred = cloud(k) - (low + high) / 2
        expected = (centred / np.linalg.norm(centred, axis=1).max())[:20, [0, 2, 1]] * [1, -1, 1]
        np.testing.assert_allclose(points, expected, atol=1e-6)
    reads.take()
    load_clouds(collection, points=20)
    assert reads.take() == []


def test_progress_is_shown_only_where_it_takes_long(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_clouds(load_shape_folder(root), points=16)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(clouds, "_QUICK_SECONDS", 0.0)
    load_clouds(load_shape_folder(root), points=16, progress=False)
    assert capsys.readouterr().err == ""
    load_clouds(load_shape_folder(root), points=16)
    assert "reading shapes: 100%" in capsys.readouterr().err


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_thousands_of_clouds_are_read_quickly(tmp_path: Path) -> None:
    for k in range(1000):
        place = tmp_path / f"class {k % 10}" / ("train" if k // 10 % 5 else "test")
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{k}.npy", cloud(k, 64))
    collection = load_shape_folder(tmp_path)
    start = time.perf_counter()
    load_clouds(collection, points=64)
    first = time.perf_counter() - start
    start = time.perf_counter()
    load_clouds(collection, points=64)
    assert first < 5
    assert time.perf_counter() - start < 1


def test_subset_and_batch() -> None:
    points = torch.arange(24, dtype=torch.float32).view(4, 2, 3)
    some = Clouds(points, torch.tensor([0, 1, 1, 0]), ("a", "b"), ("w", "x", "y", "z"))
    assert some.sample_shape == (2, 3)
    chosen = torch.tensor([3, 1])
    assert torch.equal(some.batch(chosen), points[chosen])
    subset = some.subset(chosen)
    assert subset.names == ("z", "x") and subset.labels.tolist() == [0, 1] and subset.classes == ("a", "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"points": torch.zeros(2, 5, 2)},
            r"points must be float32 of shape \(n, p, 3\), got torch.float32 \(2, 5, 2\)",
        ),
        ({"points": torch.zeros(2, 5, 3).double()}, r"points must be float32"),
        ({"labels": torch.zeros(2)}, r"labels must be int64 of shape \(n,\)"),
        ({"names": ("x",)}, r"2 clouds, 2 labels and 1 names"),
        ({"labels": torch.tensor([0, 2])}, r"labels run from 0 to 2, but with 2 classes"),
    ],
)
def test_clouds_that_cannot_be(change: dict[str, object], message: str) -> None:
    values = {
        "points": torch.zeros(2, 5, 3),
        "labels": torch.tensor([0, 1]),
        "classes": ("a", "b"),
        "names": ("x", "y"),
    }
    with pytest.raises(DataError, match=message):
        Clouds(**(values | change))  # type: ignore[arg-type]
