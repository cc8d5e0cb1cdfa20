"""Labelled views are those that were rendered, on disk or in memory."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from batchot.data.sets.shape_files import ShapeCollection
from batchot.data.views import Views, load_views
from batchot.errors import DataError
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.settings import ViewSettings, render_source
from oracles.shape_sources import write_tetrahedra

SETTINGS = ViewSettings(cameras="box-6", size=16, antialias=1, channels=("shaded", "depth"))
CLASSES = ("cone", "cup", "cube")


def collect(sources: list[ShapeSource], n_train: int) -> ShapeCollection:
    train, test = tuple(sources[:n_train]), tuple(sources[n_train:])
    return ShapeCollection("tetrahedra", CLASSES, train, test, "meshes", Path("."))


def load(collection: ShapeCollection, folder: Path, **options: object) -> tuple[Views, Views]:
    return load_views(collection, SETTINGS, folder / "views", processes=1, progress=False, **options)


def test_batches_are_what_the_renderer_draws_on_disk_and_in_memory(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path, 9)
    collection = collect(sources, 6)
    train, test = load(collection, tmp_path, memory_budget=0)
    held, _ = load(collection, tmp_path)
    assert train.pixels is None and held.pixels is not None and held.in_memory() is held
    assert (len(train), len(test), train.classes) == (6, 3, CLASSES)
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert test.names == tuple(source.name for source in sources[6:])
    assert train.sample_shape == train.view_shape == (6, 2, 16, 16)
    assert train.n_bytes == held.pixels.numel()
    truth = torch.from_numpy(np.stack([render_source(sources[k], SETTINGS) for k in (4, 0, 4)]))
    for views in (train, held, pickle.loads(pickle.dumps(train))):
        batch = views.batch(torch.tensor([4, 0, 4]))
        assert batch.dtype == torch.uint8 and torch.equal(batch, truth)
        part = views.subset(torch.tensor([5, 4]))
        assert part.labels.tolist() == [2, 1] and part.names == (sources[5].name, sources[4].name)
        assert torch.equal(part.batch([1]), truth[:1])
    assert train.batch(torch.zeros(0, dtype=torch.int64)).shape == (0, 6, 2, 16, 16)


def test_the_budget_counts_both_parts_and_is_kept_to_the_byte(tmp_path: Path) -> None:
    collection = collect(write_tetrahedra(tmp_path, 6), 3)
    needed = 6 * 6 * 2 * 16 * 16
    for budget, held in ((needed, True), (needed - 1, False)):
        assert [part.pixels is not None for part in load(collection, tmp_path, memory_budget=budget)] == [
            held
        ] * 2


def test_damage_is_mended_when_it_is_met_the_first_time(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path, 3)
    train, _ = load(collect(sources, 3), tmp_path, memory_budget=0)
    path = train.cache.path_of(sources[1])
    content = bytearray(path.read_bytes())
    content[500] ^= 255
    path.write_bytes(content)
    truth = torch.from_numpy(render_source(sources[1], SETTINGS))
    assert torch.equal(train.batch([1])[0], truth)
    path.write_bytes(path.read_bytes()[:300])  # cut short later, in the middle of training
    assert torch.equal(train.batch([1])[0], truth)


def test_what_failed_is_left_out_and_counted(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path, 9)
    for k in (0, 7):
        sources[k].path.write_text("OFF\n")
    said: list[str] = []
    train, test = load(collect(sources, 6), tmp_path, on_message=said.append)
    assert (len(train), len(test)) == (5, 2)
    assert train.labels.tolist() == [1, 2, 0, 1, 2]
    assert "1 of 6 training and 1 of 3 test shapes" in said[-1] and str(sources[0].path) in said[-1]


def test_a_class_without_training_shapes_is_an_error_that_names_it(tmp_path: Path) -> None:
    sources = write_tetrahedra(tmp_path, 9)
    for k in (1, 4):
        sources[k].path.write_text("OFF\n")
    sources[0].path.write_text("OFF\n")  # fails too, but its class keeps another one
    with pytest.raises(DataError, match="no training shape of cup could be rendered") as error:
        load(collect(sources, 6), tmp_path)
    assert sources[1].name in str(error.value)


def test_a_collection_without_test_shapes_has_none(tmp_path: Path) -> None:
    _, test = load(collect(write_tetrahedra(tmp_path, 3), 3), tmp_path)
    assert len(test) == 0 and test.batch([]).shape == (0, 6, 2, 16, 16)


def test_labels_must_fit(tmp_path: Path) -> None:
    sources = tuple(write_tetrahedra(tmp_path, 3))
    train, _ = load(collect(list(sources), 3), tmp_path)
    for labels in (torch.zeros(2, dtype=torch.int64), torch.zeros(3), torch.tensor([0, 1, 3])):
        with pytest.raises(DataError, match="labels"):
            Views(sources, labels, CLASSES, train.cache)
    with pytest.raises(DataError, match="pixels"):
        Views(sources, train.labels, CLASSES, train.cache, torch.zeros(3, 6, 2, 16, 8, dtype=torch.uint8))
