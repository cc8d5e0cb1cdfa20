from __future__ import annotations

from pathlib import Path

import pytest

from batchot.errors import RunError, RunInterrupted
from batchot.files import RunFolder
from batchot.training.plan_history import PARTS, histogram_of, read_plans
from batchot.training.recipes import load_recipe
from batchot.training.run import Messages, TrainedRun, train


def test_a_run_writes_down_what_its_plan_did(finished_run: TrainedRun) -> None:
    rows = read_plans(finished_run.folder.plans)
    steps = [row["step"] for row in rows]
    assert steps == [1, 2, 4, 5, 8]  # 4 batches an epoch: looked at are 1, 2, 5 and the epochs' ends
    assert [row["epoch"] for row in rows][2::2] == [1.0, 2.0]
    for row in rows:
        shares = {part: histogram_of(row, part) for part in PARTS}
        assert sum(shares["positive_pairs"] + shares["negative_pairs"]) == pytest.approx(1, abs=1e-6)
        assert sum(shares["positive_mass"] + shares["negative_mass"]) == pytest.approx(1, abs=1e-6)
        assert sum(shares["positive_mass"]) == pytest.approx(row["positive_mass"], abs=1e-6)
    last = finished_run.rows[-1]
    assert rows[-1]["effective_pairs"] == last.effective_pairs
    assert rows[-1]["gradient"] == last.gradient


def test_losses_without_a_plan_have_no_such_file(small, tmp_path: Path) -> None:
    run = train(load_recipe("digits", [*small, ("loss", "supcon")]), tmp_path / "run", device="cpu")
    assert not run.folder.plans.exists()
    assert read_plans(run.folder.plans) == ()


def test_an_interrupted_run_has_the_same_history(small, finished_run: TrainedRun, tmp_path: Path) -> None:
    recipe = load_recipe("digits", [*small, ("optim.ema", "0.9")])

    def stop(row: object) -> None:
        raise RunInterrupted

    with pytest.raises(RunInterrupted):
        train(recipe, tmp_path / "run", device="cpu", messages=Messages(epoch=stop))
    # the checkpoint of that epoch was not written yet: what is lost is done again, and nothing is there twice
    run = train(recipe, tmp_path / "run", device="cpu", resume=True)
    assert read_plans(run.folder.plans) == read_plans(finished_run.folder.plans)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).plans
    path.write_text("step,epoch\n1,0.5\n2,much\n")
    with pytest.raises(RunError, match=r"plan\.csv, line 3: .*changed or damaged"):
        read_plans(path)


def test_lambda_rises_from_the_uniform_plan(small, tmp_path: Path) -> None:
    def first_and_last(name: str, *overrides: tuple[str, str]) -> tuple[float, float]:
        recipe = load_recipe("digits", [*small, ("optim.lr", "1e-6"), *overrides])
        rows = read_plans(train(recipe, tmp_path / name, device="cpu").folder.plans)
        return float(rows[0]["effective_pairs"]), float(rows[-1]["effective_pairs"])

    n = 50  # samples a batch; with this learning rate nothing but lambda changes
    uniform = n * (n - 1)
    risen, at_once = first_and_last("risen", ("loss.lam_warmup", "0.5")), first_and_last("at once")
    assert risen[0] == pytest.approx(uniform)
    assert at_once[0] < 0.95 * uniform
    assert risen[1] == pytest.approx(at_once[1], rel=1e-3)
