"""Runs of a second that several tests look at."""

from __future__ import annotations

import pytest

from batchot.training.recipes import load_recipe
from batchot.training.run import TrainedRun, train

SMALL = (
    ("epochs", "2"),
    ("data.limit", "200"),
    ("batch.size", "50"),
    ("evaluation.train_samples", "100"),
    ("model.widths", "[16,8]"),
    ("model.channels", "[4,8]"),
)


@pytest.fixture
def small() -> tuple[tuple[str, str], ...]:
    """Overrides that make the recipe "digits" a matter of a second."""
    return SMALL


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A finished run, not to be changed."""
    recipe = load_recipe("digits", [*SMALL, ("optim.ema", "0.9")])
    return train(
        recipe, tmp_path_factory.mktemp("finished") / "run", device="cpu", command="batchot train digits"
    )
