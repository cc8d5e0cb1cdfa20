from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from batchot.reporting import rebuild_report, write_report
from batchot.training.run import TrainedRun, train
from batchot.training.settings import load_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    overrides = [("epochs", "1"), ("data.limit", "100"), ("batch.size", "50"), ("model.widths", "[16,8]")]
    recipe = load_recipe("digits", [*overrides, ("evaluation.train_samples", "100")])
    return train(recipe, tmp_path_factory.mktemp("report") / "run", device="cpu")


def test_report_of_a_run_and_the_same_again_from_its_folder(run: TrainedRun, tmp_path: Path) -> None:
    write_report(run)
    figures = ["curves.png", "embedding.png", "retrieved.png"]
    assert sorted(path.name for path in run.folder.figures.iterdir()) == figures
    page = run.folder.report.read_text()
    assert "digits, batch-ot, seed 0" in page

    moved = tmp_path / "elsewhere"
    shutil.copytree(run.folder.root, moved)
    (moved / "report.html").unlink()
    shutil.rmtree(moved / "figures")
    folder = rebuild_report(moved)
    assert folder.report.read_text() == page
    assert sorted(path.name for path in folder.figures.iterdir()) == figures
