"""The whole way from a recipe to a run folder."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml

from batchot.errors import RunError
from batchot.training.callbacks import Row
from batchot.training.recipe import LossName, RecipeError
from batchot.training.recipes import load_recipe
from batchot.training.run import Messages, TrainedRun, train

Overrides = tuple[tuple[str, str], ...]
KEYS = ("epoch", "map", "nn", "ft", "st", "e", "dcg", "accuracy", "accuracy_by", "seconds")


def test_run_folder_is_complete(finished_run: TrainedRun) -> None:
    folder = finished_run.folder
    metrics = json.loads(folder.metrics.read_text())
    assert set(KEYS) <= metrics.keys()
    assert all(isinstance(v, int | float | str) for v in metrics.values())
    assert metrics["epoch"] == 2
    assert metrics["accuracy_by"] == "svm"
    assert 0 < metrics["map"] <= 1
    with folder.history.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["map"]) == metrics["map"]
    assert folder.last.is_file()
    assert folder.best.is_file()
    config = yaml.safe_load(folder.config.read_text())
    assert config["run"]["command"] == "batchot train digits"
    assert {"batchot", "torch", "python", "started"} <= config["run"].keys()
    assert load_recipe(str(folder.config)) == finished_run.recipe
    assert list((folder.root / "tensorboard").glob("events*"))
    assert not list(folder.root.rglob(".*.part"))


def test_seconds_only_grow_and_start_above_zero(finished_run: TrainedRun) -> None:
    first, second = (row.seconds for row in finished_run.rows)
    assert 0 < first < second


def numbers(run: TrainedRun) -> list[dict[str, object]]:
    return [{k: v for k, v in dataclasses.asdict(row).items() if k != "seconds"} for row in run.rows]


def test_same_seed_same_numbers_and_another_seed_others(tmp_path: Path, small: Overrides) -> None:
    runs = [
        train(
            load_recipe("digits", [*small, ("seed", seed), ("augment.shift", "1")]),
            tmp_path / name,
            device="cpu",
        )
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    a, b, c = map(numbers, runs)
    assert a == b
    assert a != c


@pytest.mark.parametrize("loss", get_args(LossName))
def test_every_loss_trains(loss: LossName, tmp_path: Path, small: Overrides) -> None:
    recipe = load_recipe("digits", [*small, ("epochs", "1"), ("loss", loss), ("batch.sampler", "balanced")])
    run = train(recipe, tmp_path / "run", device="cpu")
    assert run.rows[0].map is not None
    assert (run.rows[0].violated_mass is not None) == (loss in ("batch-ot", "uniform"))


@pytest.mark.parametrize(
    "overrides",
    [
        [("loss.against", "halves"), ("loss.normalize", "false"), ("loss.lam", "1"), ("optim.clip", "1")],
        [
            ("precision", "bf16"),
            ("channels_last", "true"),
            ("optim.name", "muon"),
            ("evaluation.flip", "true"),
        ],
        [("loss.cross_entropy_weight", "1"), ("loss.label_smoothing", "0.1"), ("loss.head", "cosine")],
        [
            ("loss.cross_entropy_weight", "1"),
            ("loss.weight", "0"),
            ("optim.name", "sgd"),
            ("optim.nesterov", "true"),
        ],
        [
            ("augment.flip", "true"),
            ("augment.shift", "1"),
            ("augment.padding", "reflect"),
            ("augment.cutout", "3"),
        ],
        [("batch.sampler", "balanced"), ("batch.classes_per_batch", "5"), ("optim.name", "adam")],
    ],
)
def test_settings_work_together(overrides: list[tuple[str, str]], tmp_path: Path, small: Overrides) -> None:
    recipe = load_recipe("digits", [*small, ("epochs", "1"), *overrides])
    row = train(recipe, tmp_path / "run", device="cpu").rows[0]
    assert row.accuracy_by == ("head" if recipe.loss.cross_entropy_weight > 0 else "svm")
    assert row.loss > 0


def test_evaluation_every_so_many_epochs_and_after_the_last(tmp_path: Path, small: Overrides) -> None:
    seen: list[Row] = []
    recipe = load_recipe("digits", [*small, ("epochs", "5"), ("evaluation.every", "2")])
    run = train(recipe, tmp_path / "run", device="cpu", messages=Messages(epoch=seen.append))
    assert [row.map is not None for row in run.rows] == [False, True, False, True, True]
    assert [row.accuracy_by for row in run.rows] == [None, "knn", None, "knn", "svm"]
    assert seen == list(run.rows)


def test_single_epochs_are_evaluated_beside_those(tmp_path: Path, small: Overrides) -> None:
    overrides = [*small, ("epochs", "4"), ("evaluation.every", "3"), ("evaluation.also", "[1]")]
    run = train(load_recipe("digits", overrides), tmp_path / "run", device="cpu")
    assert [row.map is not None for row in run.rows] == [True, False, True, True]


def test_used_folder_is_refused_and_left_alone(finished_run: TrainedRun) -> None:
    root = finished_run.folder.root
    before = {f: f.stat().st_mtime_ns for f in root.rglob("*")}
    with pytest.raises(RunError, match=r"holds a run already; nothing was changed. Add --resume"):
        train(finished_run.recipe, root, device="cpu")
    assert {f: f.stat().st_mtime_ns for f in root.rglob("*")} == before


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        train(load_recipe("digits"), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_missing_gpu_is_said_at_once(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RunError, match="sees no GPU"):
        train(load_recipe("digits"), tmp_path / "out", device="cuda")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (("batch.size", "5000"), "batch.size: 5000 is not allowed; there are 200 training samples"),
        (("augment.shift", "8"), "augment.shift: 8 is not allowed; the images are 8 pixels wide"),
        (("loss.options.margn", "1"), "unknown option 'margn' of loss=triplet; did you mean margin"),
    ],
)
def test_recipe_that_does_not_fit_leaves_no_folder(
    override: tuple[str, str], message: str, tmp_path: Path, small: Overrides
) -> None:
    recipe = load_recipe("digits", [*small, ("loss", "triplet"), override])
    with pytest.raises(RecipeError) as raised:
        train(recipe, tmp_path / "out", device="cpu")
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_divergence_is_told_and_the_last_good_checkpoint_stays(tmp_path: Path, small: Overrides) -> None:
    recipe = load_recipe(
        "digits",
        [*small, ("loss.normalize", "false"), ("optim.name", "sgd"), ("optim.lr", "1e12"), ("epochs", "4"),
         ("optim.schedule", "constant"), ("model.batch_norm", "false")],
    )  # fmt: skip
    with pytest.raises(RunError, match=r"epoch 1, batch \d+: "):
        train(recipe, tmp_path / "run", device="cpu")
