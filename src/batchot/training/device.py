"""On what a network runs."""

from __future__ import annotations

from typing import Literal

import torch

from batchot.training.files import RunError

Device = Literal["auto", "cpu", "cuda"]


def accelerator_of(device: Device) -> str:
    """Give "cuda" or "cpu" for what the user asked for.

    Raises:
        RunError: there is no GPU

    >>> accelerator_of("cpu")
    'cpu'
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: this PyTorch sees no GPU; use --device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
