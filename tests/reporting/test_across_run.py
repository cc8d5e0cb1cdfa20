"""The report of a cross-modal run on digits that two networks see, as it is trained and from its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchot.reporting.run import load_material, write_report
from batchot.training.recipes import load_recipe
from batchot.training.run import TrainedRun, train
from report_support import check_rebuilt


@pytest.fixture(scope="module")
def run(digits_twice: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    overrides = [("epochs", "1"), ("data.limit", "100")]
    return train(
        load_recipe(str(digits_twice), overrides), tmp_path_factory.mktemp("cross") / "run", device="cpu"
    )


@pytest.mark.usefixtures("light_only")
def test_report_of_a_run_and_the_same_again_from_its_folder(run: TrainedRun, tmp_path: Path) -> None:
    write_report(run)
    page = run.folder.report.read_text()
    assert "digits-twice, batch-ot, seed 0" in page
    assert (
        f"<td>{100 * (run.rows[-1].map or 0):.2f}</td>" in page
    )  # measured by the trainer and by the report

    material = load_material(run.folder.root)
    assert (material.query_name, material.gallery_name) == ("left", "right")
    assert len(material.query) == len(run.data.queries)
    assert len(material.gallery) == len(run.data.gallery)
    assert material.loss is not None

    check_rebuilt(run.folder, tmp_path / "elsewhere")
