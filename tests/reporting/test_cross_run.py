"""The report of a cross-modal run on digits that two networks see, as it is trained and from its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from batchot.reporting import load_cross_material, rebuild_report, write_cross_report
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.cross_run import TrainedCrossRun, train_cross
from batchot.training.settings import load_any_recipe

RECIPE = """
name: digits-twice
epochs: 1
towers:
  photo:
    data: {name: digits, limit: 100}
    model: {name: cnn, backbone: resnet10-w4, widths: [16, 8], batch_norm: true}
    batch: {size: 20}
  scan:
    data: {name: digits, limit: 100}
    model: {name: cnn, backbone: resnet10-w4, widths: [16, 8], batch_norm: true}
    batch: {size: 20}
together: {gallery: test}
batch: {classes_per_batch: 10, sampler: balanced}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedCrossRun:
    folder = tmp_path_factory.mktemp("cross")
    (folder / "recipe.yaml").write_text(RECIPE)
    recipe = load_any_recipe(str(folder / "recipe.yaml"))
    assert isinstance(recipe, CrossModalRecipe)
    return train_cross(recipe, folder / "run", device="cpu")


@pytest.mark.usefixtures("light_only")
def test_report_of_a_run_and_the_same_again_from_its_folder(run: TrainedCrossRun, tmp_path: Path) -> None:
    write_cross_report(run)
    figures = ["curves.png", "embedding.png", "retrieved.png"]
    assert sorted(path.name for path in run.folder.figures.iterdir()) == figures
    page = run.folder.report.read_text()
    assert "digits-twice, batch-ot, seed 0" in page
    assert (
        f"<td>{100 * (run.rows[-1].map or 0):.2f}</td>" in page
    )  # measured by the trainer and by the report

    material = load_cross_material(run.folder.root)
    assert (material.query_name, material.gallery_name) == ("photo", "scan")
    assert len(material.query) == len(run.data.queries)
    assert len(material.gallery) == len(run.data.gallery)
    assert material.loss is not None

    moved = tmp_path / "elsewhere"
    shutil.copytree(run.folder.root, moved)
    (moved / "report.html").unlink()
    shutil.rmtree(moved / "figures")
    folder = rebuild_report(moved)
    assert folder.report.read_text() == page
    assert sorted(path.name for path in folder.figures.iterdir()) == figures
