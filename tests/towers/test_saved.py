"""Runs of one tower and of two, as this version writes them and as it did before towers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from batchot.errors import RunError
from batchot.towers.saved import load_run, read_saved, save_slim
from batchot.training.recipes import load_recipe
from saved_runs import save_run

SMALL = [("model.widths", "[16,8]"), ("model.channels", "[4,8]"), ("evaluation.flip", "true")]


def as_before_towers(run: Path) -> None:
    """Write the checkpoint of a run of one network as it was written before."""
    file = run / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    spec = saved.pop("spec")
    tower = spec["towers"]["model"]
    weights = {
        name.replace("network.towers.model.", "network."): v for name, v in saved["state_dict"].items()
    }
    seen = {"input_shape": list(tower["input_shape"]), "mean": list(tower["mean"]), "std": list(tower["std"])}
    content = {"classes": list(spec["classes"]), "normalized": spec["normalized"], **seen}
    torch.save({"state_dict": weights, **content}, file)


def test_a_run_from_before_towers_is_the_same_network(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", load_recipe("digits", SMALL), (1, 8, 8), normalized=False)
    images = torch.randint(
        0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    now = load_run(run)
    as_before_towers(run)
    before = load_run(run)
    assert before.spec == now.spec and not before.normalized
    assert torch.equal(before.embed(images), now.embed(images))
    assert torch.equal(before.embed(images, "model"), now.embed(images))
    save_slim(run, tmp_path / "slim")
    assert torch.equal(load_run(tmp_path / "slim").embed(images), now.embed(images))


def test_a_checkpoint_that_says_nothing_of_its_network(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", load_recipe("digits", SMALL), (1, 8, 8))
    torch.save({"state_dict": read_saved(run, "last").weights}, run / "checkpoints" / "last.ckpt")
    with pytest.raises(RunError, match="is not a checkpoint of batchot: it has no 'input_shape'"):
        load_run(run)
