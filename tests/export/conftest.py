"""An export that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchot.training.recipes import load_recipe
from saved_runs import save_run


@pytest.fixture(scope="session")
def cloud_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on clouds of 64 points; not to be changed."""
    overrides = [("model.widths", "[16,8]"), ("shapes.points", "64"), ("model.name", "pointnet")]
    recipe = load_recipe("shape-folder-scratch", [*overrides, ("loss.cross_entropy_weight", "0.1")])
    return save_run(tmp_path_factory.mktemp("clouds") / "run", recipe, (64, 3))


@pytest.fixture(scope="session")
def exported(cloud_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export; not to be changed."""
    pytest.importorskip("onnxscript", reason="needs the extra export")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    from batchot.export import export_run

    return export_run(cloud_run, tmp_path_factory.mktemp("clouds") / "exported").folder
