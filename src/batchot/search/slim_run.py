"""As much of a run folder as embedding needs: no optimiser, no history, no pictures."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from batchot.training.checkpoint import read_checkpoint
from batchot.training.files import RunError, RunFolder, write_bytes

_NEEDED = ("state_dict", "classes", "input_shape", "mean", "std", "normalized", "towers")
_NETWORK = "network."


def save_slim(run: Path, to: Path) -> None:
    """Copy settings, measures and weights of a run, so that the copy loads like the run.

    Args:
        run: run folder of ``batchot train``
        to: folder to write, made where it does not exist

    Raises:
        RunError: there is no run, it is damaged, or the disk is full
    """
    source, target = RunFolder(run), RunFolder(to)
    if not source.config.is_file():
        raise RunError(f"{run} is no run folder: it has no config.yaml")
    saved = read_checkpoint(source.last)
    kept = {name: saved[name] for name in _NEEDED if name in saved}
    kept["state_dict"] = {k: v for k, v in kept["state_dict"].items() if k.startswith(_NETWORK)}
    file = io.BytesIO()
    torch.save(kept, file)
    write_bytes(target.last, file.getvalue())
    if source.metrics.is_file():
        write_bytes(target.metrics, source.metrics.read_bytes())
    write_bytes(target.config, source.config.read_bytes())  # last: with it the folder is a run
