"""Checkpoints: read without running code, checked before use."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from batchot.training.files import RunError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run, onto the CPU.

    Args:
        path: the file

    Returns:
        What Lightning saved.

    Raises:
        RunError: the file is missing, damaged, or not a checkpoint of a run
    """
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
    """Check that saved weights are those of a network, before they are loaded.

    Args:
        saved: weights by name, from the checkpoint
        wanted: weights by name, of the network
        path: the checkpoint, for the message

    Raises:
        RunError: a parameter is missing, unknown or of another shape; the message names the first

    >>> w = torch.zeros(2, 3)
    >>> check_weights({"fc.weight": w.T}, {"fc.weight": w}, Path("a.ckpt"))
    Traceback (most recent call last):
    ...
    batchot.training.files.RunError: a.ckpt is of another network: fc.weight is (3, 2) there and (2, 3) here
    """
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
