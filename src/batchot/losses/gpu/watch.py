"""Warn of a plan with wrong marginals without waiting for the device that computes it."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from batchot.losses.settings import BatchOTSettings
from batchot.transport import SinkhornWarning


class _Watch:
    """The marginal error of one earlier call on one device, on its way to the host."""

    def __init__(self) -> None:
        self.arrived = torch.empty(1, pin_memory=True)
        self.event = torch.cuda.Event()
        self.tolerance = float("inf")  # of the call that is on its way

    def look(self) -> bool:
        """Whether the value has arrived; warns if it is too large."""
        if not self.event.query():
            return False
        if float(self.arrived) > self.tolerance:
            _warn(float(self.arrived), self.tolerance)
        self.tolerance = float("inf")
        return True

    def send(self, error: Tensor, tolerance: float) -> None:
        self.arrived.copy_(error.reshape(1), non_blocking=True)
        self.event.record(torch.cuda.current_stream(error.device))
        self.tolerance = tolerance


_watches: dict[torch.device, _Watch] = {}


def watch(error: Tensor, settings: BatchOTSettings) -> None:
    """Warn of a marginal error above the tolerance: now on a CPU, at a later call on a GPU."""
    if torch.compiler.is_compiling():
        return
    if not error.is_cuda:
        if float(error) > settings.tolerance:
            _warn(float(error), settings.tolerance)
        return
    if torch.cuda.is_current_stream_capturing():
        return
    if error.device not in _watches:
        _watches[error.device] = _Watch()
    if _watches[error.device].look():
        _watches[error.device].send(error, settings.tolerance)


def _warn(error: float, tolerance: float) -> None:
    warnings.warn(
        f"Sinkhorn's iteration on the GPU stopped at a marginal error of {error:.1e}, above tolerance={tolerance:.1e}. "
        "Raise tolerance, lower lam or gamma, or compute this loss on the CPU, where Newton's method finishes it.",
        SinkhornWarning,
        stacklevel=4,
    )
