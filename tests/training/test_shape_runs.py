"""Recognisers of shapes, trained on files from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from batchot.data import CloudAugmentation
from batchot.data.sets.by_name import load_collection
from batchot.reporting.run import write_report
from batchot.towers.saved import load_run
from batchot.training.data import load_splits
from batchot.training.embed import embed_files
from batchot.training.evaluate import embed_samples
from batchot.training.inputs import prepare
from batchot.training.recipe import RecipeError
from batchot.training.recipes import load_recipe
from batchot.training.run import TrainedRun, train
from shape_folders import write_folder

SMALL = [
    ("epochs", "2"),
    ("precision", "32"),
    ("batch.size", "6"),
    ("batch.classes_per_batch", "3"),
    ("model.widths", "[16,8]"),
    ("evaluation.recalibrate", "1"),
]
VIEWS = [*SMALL, ("model.backbone", "resnet10-w4-s4"), ("shapes.size", "32")]
KINDS = {
    "rendered": [*VIEWS, ("shapes.cameras", "box-6"), ("evaluation.flip", "true")],
    "splatted": [
        *VIEWS,
        ("shapes.views", "splatted"),
        ("shapes.cameras", "box-6"),
        ("shapes.points", "128"),
        ("model.pooling", "concat"),
        ("augment.shift", "0"),
        ("augment.scale", "0.2"),
    ],
    "pointnet": [
        *SMALL,
        ("model.name", "pointnet"),
        ("shapes.points", "64"),
        ("augment.jitter", "0.01"),
        ("augment.partial", "0.5"),
    ],
    "dgcnn": [*SMALL, ("model.name", "dgcnn"), ("shapes.points", "64"), ("augment.turn", "5")],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def recipe_of(kind: str):  # type: ignore[no-untyped-def]
    overrides = [o for o in KINDS[kind] if not (o[0] == "augment.shift" and kind == "splatted")]
    return load_recipe("shape-folder-scratch", overrides)


@pytest.fixture(scope="module", params=list(KINDS))
def run(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    out = tmp_path_factory.mktemp(request.param) / "run"
    return train(recipe_of(request.param), out, data_root=folder, device="cpu")


def test_the_run_is_whole(run: TrainedRun) -> None:
    write_report(run)
    metrics = json.loads(run.folder.metrics.read_text())
    assert metrics["epoch"] == 2
    assert 0 < metrics["map"] <= 1
    assert metrics["accuracy_by"] == "head"
    assert "bottle/bottle" in run.folder.report.read_text()
    assert 0 <= run.waited < 1


def test_loaded_it_gives_the_embeddings_of_the_evaluation(run: TrainedRun) -> None:
    embedder = load_run(run.folder.root)
    assert embedder.classes == ("airplane", "bottle", "stairs")
    found = embed_samples(embedder, run.recipe, run.splits.test)
    torch.testing.assert_close(found.embeddings, run.queries.embeddings)
    torch.testing.assert_close(found.logits, run.queries.logits)


def test_files_of_the_user_are_seen_as_in_training(run: TrainedRun, folder: Path) -> None:
    collection = load_collection("folder", folder)
    found, _ = embed_files(run.folder.root, folder)
    assert found.names == tuple(source.name for source in (*collection.train, *collection.test))
    test = torch.from_numpy(found.embeddings[len(collection.train) :])
    torch.testing.assert_close(test, run.queries.embeddings, rtol=1e-4, atol=1e-5)
    assert run.queries.logits is not None
    labels = [run.splits.test.classes[k] for k in run.queries.logits.argmax(1)]
    assert list(found.predictions[len(collection.train) :]) == labels


def test_embeddings_as_files(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    found, _ = embed_files(run.folder.root, folder)
    found.save(tmp_path / "a.npz")
    found.save(tmp_path / "a.csv")
    with np.load(tmp_path / "a.npz") as archive:
        assert tuple(archive["names"]) == found.names
        np.testing.assert_array_equal(archive["embeddings"], found.embeddings)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("name,class,probability,e0,")
    assert len(lines) == 1 + len(found.names)
    row = np.array([float(x) for x in lines[1].split(",")[3:]])
    np.testing.assert_allclose(row, found.embeddings[0], rtol=1e-6)


def test_a_second_run_gives_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    first, second = (
        train(recipe_of("splatted"), tmp_path / name, data_root=folder, device="cpu") for name in "ab"
    )
    assert torch.equal(first.queries.embeddings, second.queries.embeddings)
    assert [row.loss for row in first.rows] == [row.loss for row in second.rows]


def test_a_damaged_file_is_left_out_and_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "shapes", train=4, test=2)
    (root / "bottle" / "train" / "bad.off").write_text("OFF\n8 12 0\n0 0 0\n")
    told: list[str] = []
    splits = load_splits(recipe_of("rendered"), root, tell=told.append)
    assert len(splits.train) == 12
    assert any("bottle/bad" in text for text in told)
    with pytest.warns(UserWarning, match=r"bottle/bad"):
        assert len(load_splits(recipe_of("splatted"), root).train) == 12


def test_clouds_are_augmented_as_the_recipe_says(folder: Path) -> None:
    recipe = recipe_of("pointnet")
    made = prepare(recipe, load_splits(recipe, folder)).augmentation
    assert made == CloudAugmentation(mirror=recipe.augment.flip, jitter=0.01, partial=0.5)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("model.name", "lenet", "mvcnn, pointnet or dgcnn for shapes"),
        ("augment.cutout", "4", "augment.cutout has no effect here: it applies to images"),
        ("augment.jitter", "0.1", "augment.jitter has no effect here"),
        ("augment.partial", "0.1", "augment.partial has no effect here: it applies to sketches, splatted"),
        ("shapes.radius", "3", "shapes.radius has no effect here"),
        ("shapes.channels", "[shaded,shaded]", "one or more, each once"),
        ("shapes.channels", "[colour]", "shaded, depth, silhouette, lines"),
        ("shapes.cameras", "ring", "circle-12, dodecahedron-20, box-6"),
        ("data.image_size", "32", "data.image_size has no effect here"),
    ],
)
def test_settings_that_do_not_fit(setting: str, value: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("shape-folder-scratch", [(setting, value)])


def test_an_unknown_backbone_is_told_before_training(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe("shape-folder-scratch", [*KINDS["rendered"], ("model.backbone", "resnet18-x")])
    with pytest.raises(RecipeError, match=r"model.backbone: resnet18-x"):
        train(recipe, tmp_path / "run", data_root=folder, device="cpu")
