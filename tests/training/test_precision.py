"""What runs in bfloat16, and what never does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from batchot.evaluation import retrieval_scores
from batchot.losses import CrossModalBatchOTLoss
from batchot.models import LeNet5, MetricNet
from batchot.towers.saved import load_run
from batchot.training.losses import Objective
from batchot.training.recipes import load_recipe
from batchot.training.run import Messages, TrainedRun, train

Overrides = tuple[tuple[str, str], ...]
HALF = (("precision", "bf16"), ("channels_last", "true"), ("loss.cross_entropy_weight", "0.2"))


def noted(monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module], seen: list[tuple[object, ...]]) -> None:
    """Note type, layout and autocast of what a kind of module is given while it is trained, and of what it gives."""
    original = kind.forward

    def noting(self: nn.Module, first: object, *rest: object) -> object:
        out = original(self, first, *rest)
        if self.training and torch.is_grad_enabled():
            given = next(iter(first.values()))[0] if isinstance(first, dict) else first
            assert isinstance(given, Tensor) and isinstance(out, Tensor)
            last = given.ndim == 4 and given.is_contiguous(memory_format=torch.channels_last)
            seen.append((given.dtype, out.dtype, last, torch.is_autocast_enabled("cpu")))
        return out

    monkeypatch.setattr(kind, "forward", noting)


@pytest.mark.parametrize("chunk", ["0", "25"])
def test_the_network_runs_in_bfloat16_and_the_loss_in_float32(
    chunk: str, small: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features: list[tuple[object, ...]] = []
    heads: list[tuple[object, ...]] = []
    losses: list[tuple[object, ...]] = []
    for kind, seen in ((LeNet5, features), (MetricNet, heads), (Objective, losses)):
        noted(monkeypatch, kind, seen)
    more = (("epochs", "1"), ("model.channels", "[8,8]"), ("batch.chunk", chunk))
    train(load_recipe("digits", (*small, *HALF, *more)), tmp_path / "run", device="cpu")
    assert {dtype for _, dtype, *_ in (*features, *heads)} == {torch.bfloat16}
    assert set(losses) == {(torch.float32, torch.float32, False, False)}


def test_the_losses_of_towers_are_in_float32(
    digits_twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[tuple[object, ...]] = []
    noted(monkeypatch, CrossModalBatchOTLoss, losses)
    recipe = load_recipe(str(digits_twice), [*HALF, ("epochs", "1")])
    train(recipe, tmp_path / "run", device="cpu")
    assert set(losses) == {(torch.float32, torch.float32, False, False)}


@pytest.mark.parametrize("able", [False, True])
def test_auto_is_bfloat16_where_the_device_computes_in_it(
    able: bool, small: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchot.training.run.has_bfloat16", lambda accelerator: able)
    features: list[tuple[object, ...]] = []
    noted(monkeypatch, LeNet5, features)
    told: list[str] = []
    recipe = load_recipe("digits", (*small, ("precision", "auto"), ("epochs", "1")))
    train(recipe, tmp_path / "run", device="cpu", messages=Messages(note=told.append))
    assert {dtype for _, dtype, *_ in features} == {torch.bfloat16 if able else torch.float32}
    assert ("in float32: this device does not compute in bfloat16" in told) == (not able)


@pytest.fixture(scope="module")
def half_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    recipe = load_recipe(
        "digits",
        [
            *HALF,
            ("epochs", "3"),
            ("data.limit", "300"),
            ("model.widths", "[16,8]"),
            ("evaluation.recalibrate", "2"),
        ],
    )
    return train(recipe, tmp_path_factory.mktemp("half") / "run", device="cpu")


def test_figures_of_a_bfloat16_run_are_those_of_its_loaded_network(half_run: TrainedRun) -> None:
    embedder = load_run(half_run.folder.root)
    assert {p.dtype for p in embedder.parameters()} == {torch.float32}
    with torch.no_grad():
        embeddings = embedder(half_run.splits.test.images)
    assert torch.allclose(embeddings, half_run.queries.embeddings, atol=1e-5)
    scores = retrieval_scores(embeddings, half_run.splits.test.labels, distance="cosine")
    assert scores.map == pytest.approx(half_run.rows[-1].map, abs=1e-4)


def test_an_export_of_a_bfloat16_run_gives_the_same_embeddings(half_run: TrainedRun, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra export")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    from batchot.export import export_run, load_exported

    exported = load_exported(export_run(half_run.folder.root, tmp_path / "exported").folder)
    images = half_run.splits.test.images[:20]
    with torch.no_grad():
        ours, theirs = load_run(half_run.folder.root)(images), exported(images)
    assert torch.allclose(ours, theirs, atol=1e-5)
