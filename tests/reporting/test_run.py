from __future__ import annotations

from pathlib import Path

import pytest

from batchot.reporting.run import write_report
from batchot.training.recipes import load_recipe
from batchot.training.run import TrainedRun, train
from report_support import check_rebuilt


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    overrides = [("epochs", "1"), ("data.limit", "100"), ("batch.size", "50"), ("model.widths", "[16,8]")]
    recipe = load_recipe("digits", [*overrides, ("evaluation.train_samples", "100")])
    return train(recipe, tmp_path_factory.mktemp("report") / "run", device="cpu")


def test_report_of_a_run_and_the_same_again_from_its_folder(run: TrainedRun, tmp_path: Path) -> None:
    write_report(run)
    page = run.folder.report.read_text()
    assert "digits, batch-ot, seed 0" in page

    check_rebuilt(run.folder, tmp_path / "elsewhere")
