"""The loss and its gradient in one pass, without a graph of n x m matrices.

With T held fixed the gradient is known in closed form: with w_ij = T_ij / 2 * dM_ij/d(d2_ij),

    dL/dx_i = 2 sum_j w_ij (x_i - y_j),     dL/dy_j = 2 sum_i w_ij (y_j - x_i),

so the forward pass leaves two (n, d) matrices behind and the backward pass only scales them.
"""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from batchot.losses.batch import Batch, check_misplacement
from batchot.losses.blocks import Rows
from batchot.losses.settings import BatchOTSettings

_MAX_LAM = 40.0  # exp(-lam) times the scalings stays inside float32; above it, the general solver
_FINEST_TOLERANCE = 1e-6  # of float32 kernels
# On other devices and in float64 the general path is quick enough below, and holds eight or so matrices of n x m.
_TILED_PAIRS = 1 << 26


@cache
def compiled_kernels() -> ModuleType | None:
    """The module of compiled loops, or None (and a warning, once) where numba cannot be used."""
    try:
        from batchot.losses import kernels
    except (
        ImportError,
        RuntimeError,
    ) as error:  # RuntimeError: no folder in which numba can keep what it compiles
        warnings.warn(
            f"numba cannot be used ({error}); losses take the general path, with the same results, more slowly. "
            "Install numba, or set NUMBA_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return kernels


def is_fusible(batch: Batch, settings: BatchOTSettings) -> bool:
    """Whether :func:`fused_loss` computes this case; the others take the general path with the same result."""
    if (
        batch.indices_tuple is not None
        or batch.labels is None
        or len(batch.x) < 2
        or not has_closed_form(settings)
    ):
        return False
    double = torch.float64 in (batch.x.dtype, None if batch.y is None else batch.y.dtype)
    if batch.x.device.type == "cpu" and not double:
        return suits_kernels(settings) and compiled_kernels() is not None
    pairs = len(batch.x) * len(batch.x if batch.y is None else batch.y)
    return pairs > _TILED_PAIRS and (double or suits_kernels(settings)) and compiled_kernels() is not None


def has_closed_form(settings: BatchOTSettings) -> bool:
    """Whether the gradient is the one above and the kernel fits into numbers."""
    return (
        settings.grad == "detach"
        and settings.distance_power == 2
        and settings.power == 1
        and (settings.plan == "uniform" or settings.lam <= _MAX_LAM)
    )


def suits_kernels(settings: BatchOTSettings) -> bool:
    """Whether the compiled float32 loops compute the loss with these options."""
    return has_closed_form(settings) and settings.tolerance >= _FINEST_TOLERANCE


class _FusedLoss(torch.autograd.Function):
    """L of raw embeddings x and y (or None), with its gradient computed beside it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor | None, batch: Batch, settings: BatchOTSettings, need_grad: bool
    ) -> Tensor:
        loss, grad_x, grad_y = _forward(x, y, batch, settings, need_grad)
        ctx.save_for_backward(grad_x, grad_y)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        grad_x, grad_y = ctx.saved_tensors
        return (
            grad * grad_x if ctx.needs_input_grad[0] else None,
            grad * grad_y if ctx.needs_input_grad[1] else None,
            None,
            None,
            None,
        )


def fused_loss(batch: Batch, settings: BatchOTSettings) -> Tensor:
    """The loss of a fusible batch, differentiable once."""
    with torch.autocast(batch.x.device.type, enabled=False):
        x = batch.x if batch.x.dtype == torch.float64 else batch.x.float()
        y = None if batch.y is None else batch.y.to(x.dtype)
        need_grad = torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad))
        loss: Tensor = _FusedLoss.apply(x, y, batch, settings, need_grad)
    return loss


def _forward(
    x: Tensor, y: Tensor | None, batch: Batch, settings: BatchOTSettings, need_grad: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    from batchot.losses.blocks.solve import solve

    assert batch.labels is not None
    x, x_norm, centre = prepare(x, settings.normalize, None)
    if y is None:
        rows = Rows(x, x, batch.labels, batch.labels, 0, len(x), settings)
    else:
        assert batch.y_labels is not None
        y, y_norm, _ = prepare(y, settings.normalize, centre)
        rows = Rows(x, y, batch.labels, batch.y_labels, None, len(x), settings)
    solved = solve(rows, need_x=need_grad, need_y=need_grad)
    check_misplacement(solved.loss, batch)
    loss = torch.tensor(solved.loss, dtype=x.dtype, device=x.device)
    grad_x = None if solved.grad_x is None else through_norm(solved.grad_x, x, x_norm)
    if y is None or solved.grad_y is None:
        return loss, grad_x, None
    return loss, grad_x, through_norm(solved.grad_y, y, y_norm)


def prepare(x: Tensor, normalize: bool, centre: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Unit rows and their norms; or centred rows (which changes no distance, and rounds less) and the centre."""
    if normalize:
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_(min=1e-12)
        return x / norm, norm, None
    centre = x.mean(0) if centre is None else centre
    return x - centre, None, centre


def through_norm(grad: Tensor, x: Tensor, norm: Tensor | None) -> Tensor:
    """The gradient on raw embeddings from that on unit rows x: (g - x <x, g>) / norm."""
    if norm is None:
        return grad
    return grad.sub_(x * (x * grad).sum(1, keepdim=True)).div_(norm)
