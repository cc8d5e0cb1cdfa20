from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import batchot
from batchot.errors import RunError
from batchot.evaluation import retrieval_scores
from batchot.towers.saved import load_run
from batchot.training.run import TrainedRun


def test_loaded_embedder_gives_the_figures_of_the_run(finished_run: TrainedRun) -> None:
    embedder = load_run(finished_run.folder.root)
    with torch.no_grad():
        embeddings = embedder(finished_run.splits.test.images)
    assert torch.allclose(embeddings, finished_run.queries.embeddings, atol=1e-6)
    scores = retrieval_scores(embeddings, finished_run.splits.test.labels, distance="cosine")
    assert scores.map == pytest.approx(finished_run.rows[-1].map, abs=1e-4)
    assert embedder.metrics == json.loads(finished_run.folder.metrics.read_text())
    assert embedder.classes == finished_run.splits.test.classes
    assert (embedder.recipe.loss.lam, embedder.recipe.epochs) == (5.0, finished_run.recipe.epochs)
    assert embeddings.shape[1] == embedder.embedding_dim == 8
    assert not embedder.training


def test_bytes_and_floats_give_the_same_normalised_embeddings(finished_run: TrainedRun) -> None:
    embedder = batchot.load_run(finished_run.folder.root)
    images = finished_run.splits.test.images[:5]
    with torch.no_grad():
        a, b = embedder(images), embedder(images.float() / 255)
    assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(a.norm(dim=1), torch.ones(5), atol=1e-5)
    with pytest.raises(ValueError, match=r"float images must lie in 0 .. 1, got 0 .. 255"):
        embedder(images.float())


def test_best_checkpoint_is_the_epoch_of_highest_map(finished_run: TrainedRun) -> None:
    saved = torch.load(finished_run.folder.best, weights_only=True)
    best = max(finished_run.rows, key=lambda row: row.map or 0)
    rows = next(v["rows"] for k, v in saved["callbacks"].items() if "History" in k)
    assert rows[-1]["epoch"] == best.epoch
    load_run(finished_run.folder.root, checkpoint="best")


def test_folders_that_hold_no_good_run(finished_run: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        load_run(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(finished_run.folder.root, run)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    saved["spec"]["towers"]["model"]["widths"] = (16, 9)
    torch.save(saved, run / "checkpoints" / "last.ckpt")
    with pytest.raises(RunError, match=r"of another network: .* is \(8, 16\) there and \(9, 16\) here"):
        load_run(run)
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(RunError, match="no checkpoint"):
        load_run(run)
