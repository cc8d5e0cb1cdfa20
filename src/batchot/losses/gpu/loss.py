"""The loss as a PyTorch operator, so that it is one node of a graph of `torch.compile` and can be captured."""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from batchot.losses.batch import Batch
from batchot.losses.fused import once, suits_kernels
from batchot.losses.gpu.problem import Options, Problem, Tiles
from batchot.losses.gpu.watch import watch
from batchot.losses.settings import BatchOTSettings

HAS_TRITON = find_spec("triton") is not None
_OLDEST = (8, 0)  # compute capability with TF32 tensor cores
_PRECISION = "tf32x3"


def is_gpu_fusible(batch: Batch, settings: BatchOTSettings) -> bool:
    """Whether :func:`gpu_loss` computes this case; the others take the general path with the same result."""
    return HAS_TRITON and _is_capable(batch.x.device) and _suits(batch, settings) and _agrees(batch)


def _agrees(batch: Batch) -> bool:
    return _kernels_agree(batch.x.device, len(batch.x), len(batch.x if batch.y is None else batch.y))


@torch.compiler.assume_constant_result
def _kernels_agree(device: torch.device, n: int, m: int) -> bool:
    if torch.cuda.is_current_stream_capturing():  # nothing can be compared now; the calls that warmed up have
        return True
    from batchot.losses.gpu.check import kernels_agree
    from batchot.losses.gpu.solve import choose_path

    return kernels_agree(device, choose_path(n, m), Tiles.for_size(max(n, m)))


@torch.compiler.assume_constant_result
def _is_capable(device: torch.device) -> bool:
    return (
        device.type == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(device) >= _OLDEST
    )


def _suits(batch: Batch, settings: BatchOTSettings) -> bool:
    labels, others = batch.labels, batch.labels if batch.y is None else batch.y_labels
    return (
        suits_kernels(settings)
        and batch.indices_tuple is None
        and labels is not None
        and others is not None
        and not labels.is_floating_point()
        and not others.is_floating_point()
        and batch.x.dtype != torch.float64
        and (batch.y is None or batch.y.dtype != torch.float64)
        and len(batch.x) > 1
    )


def gpu_loss(batch: Batch, settings: BatchOTSettings, precision: str = _PRECISION) -> Tensor:
    """The loss of a batch for which :func:`is_gpu_fusible` holds; differentiable once, no synchronisation."""
    loss, error = gpu_loss_and_error(batch, settings, precision)
    watch(error, settings)
    return loss


def gpu_loss_and_error(
    batch: Batch, settings: BatchOTSettings, precision: str = _PRECISION
) -> tuple[Tensor, Tensor]:
    """The loss, and the marginal error sum_i |T 1 - a|_i + sum_j |T^T 1 - b|_j of the plan, both on the device."""
    assert batch.labels is not None
    y = batch.y
    need_grad = torch.is_grad_enabled() and (batch.x.requires_grad or (y is not None and y.requires_grad))
    loss, error, _, _ = _loss(
        batch.x,
        y,
        batch.labels.long(),
        None if y is None or batch.y_labels is None else batch.y_labels.long(),
        settings.margin,
        settings.pos_margin,
        settings.gamma,
        settings.lam,
        settings.normalize,
        settings.plan == "uniform",
        settings.tolerance,
        settings.max_iterations,
        precision,
        need_grad,
    )
    return loss, error.detach()


@torch.library.custom_op("batchot::gpu_loss", mutates_args=())
def _loss(
    x: Tensor,
    y: Tensor | None,
    lx: Tensor,
    ly: Tensor | None,
    margin: float,
    pos_margin: float,
    gamma: float,
    lam: float,
    normalize: bool,
    uniform: bool,
    tolerance: float,
    max_iterations: int,
    precision: str,
    need_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from batchot.losses.gpu.solve import solve

    options = Options(
        margin, pos_margin, gamma, lam, normalize, uniform, tolerance, max_iterations, precision
    )
    y = None if y is None else _rows(y)
    # Triton launches on the current device, which need not be that of the tensors.
    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        done = solve(Problem(_rows(x), y, lx.contiguous(), _contiguous(ly), need_grad, options))
    return done.loss, done.error, done.grad_x, done.grad_y


def _rows(x: Tensor) -> Tensor:
    """x with rows that lie together in memory, as the kernels read them."""
    return x if x.stride(1) == 1 else x.contiguous()


def _contiguous(labels: Tensor | None) -> Tensor | None:
    return None if labels is None else labels.contiguous()


@_loss.register_fake
def _(x: Tensor, y: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    need_grad = rest[-1]
    like_x = x.shape if need_grad else (0, x.shape[1])
    like_y = y.shape if need_grad and y is not None else (0, x.shape[1])
    x = x.to(torch.float32)  # fake: no data are copied
    return x.new_empty(()), x.new_empty(()), x.new_empty(like_x), x.new_empty(like_y)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, y = inputs[:2]
    ctx.types = x.dtype, None if y is None else y.dtype
    ctx.save_for_backward(x, y, output[2].detach(), output[3].detach())


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, grad_x, grad_y = ctx.saved_tensors
    of_x, of_y = ctx.types
    return (
        (grad * once(grad_x, x, y)).to(of_x) if ctx.needs_input_grad[0] else None,
        (grad * once(grad_y, x, y)).to(of_y) if of_y is not None and ctx.needs_input_grad[1] else None,
        *[None] * 12,
    )


_loss.register_autograd(_backward, setup_context=_setup)
