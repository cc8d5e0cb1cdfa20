from __future__ import annotations

from pathlib import Path

import pytest

from batchot.benchmark import reproduce
from batchot.benchmark.reproduce import ROWS, Row, chosen_rows, markdown_table, reproduced, run_row
from batchot.cli import main
from batchot.training.recipe import RecipeError
from batchot.training.recipes import load_recipe
from batchot.training.settings import recipe_names


def test_the_table_has_the_six_benchmarks_and_recipes_that_there_are() -> None:
    assert {row.name for row in ROWS} == {
        "MNIST",
        "CIFAR-10",
        "SHREC'13",
        "SHREC'14",
        "ModelNet10",
        "ModelNet40",
    }
    assert {row.recipe for row in ROWS} <= set(recipe_names())
    for row in ROWS:
        row.made(3)


def test_rows_by_name() -> None:
    assert [row.recipe for row in chosen_rows(["shrec'14", "mnist-paper"])] == [
        "shrec14",
        "shrec14-paper",
        "mnist-paper",
    ]
    with pytest.raises(RecipeError, match="no benchmark 'imagenet'; there are MNIST, CIFAR-10"):
        chosen_rows(["imagenet"])


def test_rows_without_data_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BATCHOT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    assert (
        main(["reproduce", "--run", "--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out")])
        == 0
    )
    text = capsys.readouterr().out
    assert text.count("| no data here |") == len(ROWS)
    for name in ("MNIST", "CIFAR-10", "SHREC'13", "SHREC'14", "ModelNet10", "ModelNet40"):
        assert f"- {name}: " in text
    assert text.count("give its folder with --data-root") == 6  # and not the first line of the reason alone
    for row in ROWS:
        assert f"    batchot train {row.recipe} --data-root" in text
    assert not (tmp_path / "out").exists()  # nothing to run, nothing is left behind


def test_what_was_run_stands_beside_the_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("digits", "digits", "ours", {"map": 90.0, "accuracy": 91.0}, "epoch 2")
    small = [("epochs", "2"), ("data.limit", "200"), ("evaluation.train_samples", "100")]
    monkeypatch.setattr(
        reproduce, "load_recipe", lambda name, overrides=(): load_recipe(name, [*small, *overrides])
    )
    before = reproduced(row, [0, 1], tmp_path, None)
    assert (before.seeds, before.missing) == ((), None)
    assert "| not run |" in markdown_table([before], tmp_path, None)
    assert row.command(0, tmp_path, None) in markdown_table([before], tmp_path, None)
    for seed in (0, 1):
        run_row(row, seed, tmp_path, None, "cpu", lambda text: None)
    after = reproduced(row, [0, 1], tmp_path, None)
    assert after.seeds == (0, 1)
    assert after.ours["map"].half is not None
    table = markdown_table([after], tmp_path, None)
    assert f"mAP {100 * after.ours['map'].mean:.2f} ±" in table
    assert "mAP 90.0, accuracy 91.0 (epoch 2)" in table
    told: list[str] = []
    run_row(row, 0, tmp_path, None, "cpu", told.append)
    assert told == []  # a finished run is left as it is
