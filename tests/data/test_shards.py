"""Shards of views: what is written is read again, by others too, and damage is named before training starts."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from batchot.commands.common import recipe_named
from batchot.data import BalancedBatches, DataError, PlainBatches, Preparation, Splits, TrainingBatches
from batchot.data.sets.shape_files import ShapeCollection
from batchot.data.sets.shape_folder import load_shape_folder
from batchot.data.shard_file import ShardIndex
from batchot.data.shards import ShardedViews, load_shards, write_shards
from batchot.data.views import Views, load_views
from batchot.shapes.views.settings import ViewSettings
from batchot.training.recipes import load_recipe
from batchot.training.run import train
from oracles.shape_sources import write_tetrahedra
from shape_folders import write_folder

SETTINGS = ViewSettings(cameras="box-6", size=24, antialias=1, channels=("shaded", "depth"))
SMALL_SHARD = 60_000  # bytes: six samples


def collection_in(root: Path, n: int = 23) -> ShapeCollection:
    sources = write_tetrahedra(root / "shapes", n)
    names = ("class_0", "class_1", "class_2")
    return ShapeCollection("tetrahedra", names, tuple(sources[:17]), tuple(sources[17:]), "meshes", root)


def rendered(root: Path) -> tuple[ShapeCollection, tuple[Views, Views]]:
    collection = collection_in(root)
    return collection, load_views(collection, SETTINGS, root / "views", processes=1, progress=False)


def write(root: Path, out: str = "out") -> tuple[Path, tuple[Views, Views]]:
    collection, views = rendered(root)
    write_shards(collection, views[0].cache, root / out, shard_bytes=SMALL_SHARD)
    return root / out, views


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_they_hold_the_views_of_the_folder(tmp_path: Path) -> None:
    folder, (train, test) = write(tmp_path)
    splits = load_shards(folder, SETTINGS)
    for views, shards in ((train, splits.train), (test, splits.test)):
        assert shards.names == views.names and shards.classes == views.classes
        assert shards.labels.equal(views.labels) and shards.sample_shape == views.sample_shape
        order = torch.randperm(len(views), generator=torch.Generator().manual_seed(1)).repeat(2)
        assert shards.batch(order).equal(views.batch(order))
        chosen = torch.tensor([4, 0, 3])
        assert shards.subset(chosen).batch([2, 0]).equal(views.batch([3, 4]))
        assert shards.subset(chosen).names == views.subset(chosen).names
    # Uneven: the last shard of each part is smaller.
    counts = {shard.file: shard.samples for shard in ShardIndex.read(folder).shards}
    assert list(counts.values()) == [6, 6, 5, 6], counts


def test_webdataset_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    folder, (train, _) = write(tmp_path)
    tars = [str(path) for path in sorted(folder.glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    assert [sample["json"]["name"] for sample in samples] == list(train.names)
    for k, sample in enumerate(samples):
        assert np.array_equal(sample["npy"], train.batch([k])[0].numpy())
        about = sample["json"]
        assert (about["label"], about["class"]) == (int(train.labels[k]), train.classes[train.labels[k]])
        assert about["part"] == "train" and about["content"] == train.cache.path_of(train.sources[k]).stem


def test_the_same_bytes_at_once_and_after_interruptions(tmp_path: Path) -> None:
    folder, (train, _) = write(tmp_path)
    whole = contents(folder)
    again, _ = write(tmp_path, "again")
    assert contents(again) == whole

    collection = collection_in(tmp_path)
    unfinished = replace(ShardIndex.read(again), samples_sha256="")
    unfinished.write(again)
    (again / "train-00000.tar").unlink()
    half = again / "train-00001.tar"
    half.write_bytes(half.read_bytes()[:20_000])
    swapped = again / "test-00000.tar"
    swapped.write_bytes((again / "train-00002.tar").read_bytes())
    untouched = (again / "train-00002.tar").stat().st_mtime_ns
    with pytest.raises(DataError, match="not finished"):
        load_shards(again)
    write_shards(collection, train.cache, again, shard_bytes=SMALL_SHARD)
    assert contents(again) == whole
    assert (again / "train-00002.tar").stat().st_mtime_ns == untouched


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    folder, (train, _) = write(tmp_path)
    before = contents(folder)
    collection = collection_in(tmp_path)
    fewer = replace(collection, train=collection.train[:-1])
    with pytest.raises(DataError, match="shards of other shapes"):
        write_shards(fewer, train.cache, folder, shard_bytes=SMALL_SHARD)
    with pytest.raises(DataError, match="another size"):
        write_shards(collection, train.cache, folder)
    assert contents(folder) == before
    with pytest.raises(DataError, match="not empty and holds no shards"):
        write_shards(collection, train.cache, tmp_path / "shapes")


@pytest.mark.parametrize("damage", ["missing", "short", "no index", "half an index", "samples", "not ours"])
def test_damage_is_named_before_training_starts(tmp_path: Path, damage: str) -> None:
    folder, _ = write(tmp_path)
    shard = folder / "train-00001.tar"
    if damage == "missing":
        shard.unlink()
    elif damage == "short":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "no index":
        (folder / "shards.json").unlink()
    elif damage == "half an index":
        (folder / "shards.json").write_bytes((folder / "shards.json").read_bytes()[:200])
    elif damage == "samples":
        (folder / "samples.npz").write_bytes((folder / "samples.npz").read_bytes()[:-9])
    else:
        (folder / "shards.json").write_text(json.dumps({"format": 7}))
    named = {
        "missing": "train-00001.tar is missing",
        "short": "train-00001.tar has",
        "samples": "samples.npz",
    }
    with pytest.raises(DataError, match=named.get(damage, "shards.json")):
        load_shards(folder, SETTINGS)


def test_a_flipped_bit_is_found_when_it_is_read(tmp_path: Path) -> None:
    folder, _ = write(tmp_path)
    path = folder / "train-00002.tar"
    with tarfile.open(path) as tar:
        place = tar.getmember("00000014.npy").offset_data + 300
    with open(path, "r+b") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        file.write(bytes([old[0] ^ 1]))
    train = load_shards(folder, SETTINGS).train
    train.batch([12, 13, 15, 16])
    with pytest.raises(DataError, match=rf"train-00002.tar is damaged: the views of {train.names[14]}"):
        train.batch([13, 14])
    path.unlink()
    with pytest.raises(DataError, match=r"train-00002\.tar cannot be read"):
        train.batch([13])


def test_other_settings_are_named(tmp_path: Path) -> None:
    folder, _ = write(tmp_path)
    with pytest.raises(
        DataError, match=r"train with shapes.size=24 shapes.channels=\[shaded,depth\], or render"
    ):
        load_shards(folder, ViewSettings(cameras="box-6", size=32, antialias=1))


@pytest.mark.parametrize("balanced", [False, True])
def test_a_pass_is_resumed_where_it_was_left(tmp_path: Path, balanced: bool) -> None:
    folder, _ = write(tmp_path)
    splits: Splits[ShardedViews] = load_shards(folder, SETTINGS)

    def batches() -> TrainingBatches:
        n, labels = len(splits.train), splits.train.labels
        sampler = BalancedBatches(labels, 6, 3) if balanced else PlainBatches(n, 4)
        return TrainingBatches(splits.train, sampler, Preparation(None), seed=5)

    first, second = batches(), batches()
    everything = [[batch for batch in first] for _ in range(2)]
    second.load_state_dict({"epoch": 1, "batch": 1})
    rest = list(second)
    assert len(rest) == len(everything[1]) - 1
    for (x, y), (x_again, y_again) in zip(everything[1][1:], rest, strict=True):
        assert x.equal(x_again) and y.equal(y_again)
    if balanced:
        assert all(y.bincount().tolist() == [2, 2, 2] for _, y in everything[0])


def test_training_on_them_is_training_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_folder(tmp_path / "shapes", train=4, test=2)
    small = [
        ("epochs", "2"),
        ("precision", "32"),
        ("batch.size", "6"),
        ("batch.classes_per_batch", "3"),
        ("model.widths", "[16,8]"),
        ("model.backbone", "resnet10-w4-s4"),
        ("shapes.size", "32"),
        ("shapes.cameras", "box-6"),
    ]
    recipe = load_recipe("shape-folder-scratch", small)
    first = train(recipe, tmp_path / "a", data_root=folder, device="cpu")
    collection = load_shape_folder(folder)
    cache = first.splits.train.cache
    write_shards(collection, cache, tmp_path / "shards", shard_bytes=SMALL_SHARD)
    assert recipe_named("folder", tmp_path / "shards") == "shards"
    sharded = load_recipe("shards", small)
    second = train(sharded, tmp_path / "b", data_root=tmp_path / "shards", device="cpu")
    assert isinstance(second.splits.train, ShardedViews)
    metrics = [json.loads((tmp_path / run / "metrics.json").read_text()) for run in "ab"]
    for measured in metrics:
        del measured["seconds"]
    assert metrics[0] == metrics[1]
    assert [row.loss for row in first.rows] == [row.loss for row in second.rows]


def test_its_recipe_is_that_of_a_folder() -> None:
    folder, shards = load_recipe("shape-folder-scratch"), load_recipe("shards")
    shapes = replace(shards.shapes, min_class=folder.shapes.min_class)
    tower = replace(shards.towers["model"], data=folder.data, shapes=shapes)
    same = replace(shards, name=folder.name, about=folder.about, towers={"model": tower})
    assert same == folder
