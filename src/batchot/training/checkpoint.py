"""Checkpoints, written whole or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from batchot.errors import RunError
from batchot.training.files import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, flushed to the disk before they take the place of the previous ones."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; a full disk leaves the previous one good."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run, onto the CPU."""
    advice = "Delete it to start again"
    best = path.with_name("best.ckpt")
    if best.is_file() and best != path:
        advice = f"Copy {best} over it to go on from there, or delete it to start again"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"no checkpoint {path}") from error
    except Exception as error:  # torch.load raises half a dozen unrelated types on damaged files
        what = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(
            error, pickle.UnpicklingError
        ):  # torch's text here invites to run whatever is in the file
            what = "it holds something else than tensors and plain values"
        raise RunError(
            f"{path} ({path.stat().st_size:,} bytes) is damaged or no checkpoint: {what}. {advice}."
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise RunError(f"{path} holds no training state (no 'state_dict' in it). {advice}.")
    return content


def check_weights(saved: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Check that saved weights are those of a network, before they are loaded."""
    for name, value in wanted.items():
        if name not in saved:
            raise RunError(f"{path} is of another network: {name} {tuple(value.shape)} is not in it")
        if saved[name].shape != value.shape:
            raise RunError(
                f"{path} is of another network: {name} is {tuple(saved[name].shape)} there and "
                f"{tuple(value.shape)} here"
            )
    for name, value in saved.items():
        if name not in wanted:
            raise RunError(
                f"{path} is of another network: it has {name} {tuple(value.shape)}, this one has not"
            )
