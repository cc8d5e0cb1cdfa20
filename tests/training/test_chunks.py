"""Runs whose batches go through the network in chunks."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from batchot.errors import RunInterrupted
from batchot.training.learner import Learner
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.recipes import load_recipe
from batchot.training.run import Messages, train

Overrides = tuple[tuple[str, str], ...]
EXACT = (  # all that goes with a step, and no batch normalisation, so that chunks change nothing
    ("model.batch_norm", "false"),
    ("optim", "sgd"),
    ("optim.lr", "0.05"),
    ("optim.clip", "0.1"),
    ("optim.ema", "0.9"),
    ("loss.cross_entropy_weight", "0.2"),
)


def weights(out: Path) -> dict[str, Tensor]:
    saved: dict[str, Tensor] = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return saved


def history(out: Path) -> list[dict[str, str]]:
    with open(out / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-3, atol=1e-5)
    for x, y in zip(history(a), history(b), strict=True):
        assert float(x["loss"]) == pytest.approx(float(y["loss"]), abs=1e-5)
        assert float(x["map"]) == pytest.approx(float(y["map"]), abs=1e-3)


def seen_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many samples the network sees at once while it is trained."""
    from batchot.towers.tower import Tower

    sizes: list[int] = []
    original = Tower.forward

    def noting(self: Tower, samples: Tensor) -> object:
        if self.training and torch.is_grad_enabled():
            sizes.append(len(samples))
        return original(self, samples)

    monkeypatch.setattr(Tower, "forward", noting)
    return sizes


@pytest.mark.parametrize("more", [(), (("loss.against", "halves"),)], ids=["self", "halves"])
def test_without_batch_normalisation_a_run_is_that_of_whole_batches(
    more: Overrides, small: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(load_recipe("digits", (*small, *EXACT, *more)), tmp_path / "whole", device="cpu")
    sizes = seen_sizes(monkeypatch)
    chunked = load_recipe("digits", (*small, *EXACT, *more, ("batch.chunk", "16")))
    train(chunked, tmp_path / "chunked", device="cpu")
    assert set(sizes) == {12, 13}  # 50 in four parts
    assert_same(tmp_path / "whole", tmp_path / "chunked")


def chunked_recipe(small: Overrides) -> Recipe:
    """Batch normalisation, dropout, bfloat16: whatever a resumed run could get wrong."""
    more = (("batch.chunk", "16"), ("model.dropout", "0.2"), ("precision", "bf16"), ("channels_last", "true"))
    return load_recipe("digits", (*small, *more, ("evaluation.recalibrate", "2")))


def test_a_chunked_run_is_resumed(small: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = chunked_recipe(small)
    train(recipe, tmp_path / "whole", device="cpu")
    original, steps = Learner.training_step, iter(range(1, 100))

    def stopped(self: Learner, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if next(steps) == 6:  # in the second epoch
            raise RunInterrupted
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Learner, "training_step", stopped)
    with pytest.raises(RunInterrupted):
        train(recipe, tmp_path / "resumed", device="cpu")
    monkeypatch.undo()
    train(recipe, tmp_path / "resumed", device="cpu", resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_calibration_is_on_chunks(small: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def noting(network: object, batches: object) -> None:
        sizes.extend(len(batch) for _, batch in batches)  # type: ignore[attr-defined]

    monkeypatch.setattr("batchot.training.learner.recalibrate", noting)
    train(chunked_recipe((*small, ("epochs", "1"))), tmp_path / "run", device="cpu", messages=Messages())
    assert max(sizes) == 16 and sum(sizes) == 100  # two batches of 50


def test_towers_have_chunks_of_their_own(
    digits_twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = seen_sizes(monkeypatch)
    recipe = load_recipe(str(digits_twice), [("left.batch.chunk", "7"), ("epochs", "1")])
    run = train(recipe, tmp_path / "run", device="cpu")
    assert run.rows[-1].map is not None
    assert set(sizes) == {6, 7, 30}  # 20 in three parts; the other tower at once


@pytest.mark.parametrize(
    ("chunk", "size", "says"),
    [
        ("-1", "50", "batch.chunk: -1"),
        ("1", "50", "every chunk has two samples"),
        ("2", "51", "every chunk has two samples"),
        ("50", "50", "no effect here: it applies to batches that are larger"),
        ("2.5", "50", "a whole number"),
    ],
)
def test_bad_chunks(chunk: str, size: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        load_recipe("digits", [("batch.size", size), ("batch.chunk", chunk)])
