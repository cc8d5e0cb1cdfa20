"""The loss as a PyTorch operator, so that it is one node of a graph of `torch.compile` and can be captured."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from batchot.losses.backends.general import keep_gradients, pull_kept, wants_gradient
from batchot.losses.backends.triton.problem import Options, Problem, Tiles
from batchot.losses.problem import Problem as LossProblem
from batchot.transport import SinkhornWarning

HAS_TRITON = find_spec("triton") is not None
_OLDEST = (8, 0)  # compute capability with TF32 tensor cores
_PRECISION = "tf32x3"


def runs_here(problem: LossProblem) -> bool:
    """Whether :func:`gpu_loss` computes a problem of float32 or 16 bits that has a gradient in closed form."""
    return HAS_TRITON and _is_capable(problem.x.device) and _has_integer_labels(problem) and _agrees(problem)


def _agrees(problem: LossProblem) -> bool:
    return _kernels_agree(problem.x.device, len(problem.x), len(problem.columns))


@torch.compiler.assume_constant_result
def _kernels_agree(device: torch.device, n: int, m: int) -> bool:
    if torch.cuda.is_current_stream_capturing():  # nothing can be compared now; the calls that warmed up have
        return True
    from batchot.losses.backends.triton.solve import choose_path, kernels_agree

    return kernels_agree(device, choose_path(n, m), Tiles.for_size(max(n, m)))


@torch.compiler.assume_constant_result
def _is_capable(device: torch.device) -> bool:
    return (
        device.type == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(device) >= _OLDEST
    )


def _has_integer_labels(problem: LossProblem) -> bool:
    labels, others = problem.labels, problem.labels if problem.y is None else problem.y_labels
    return (
        labels is not None
        and others is not None
        and not labels.is_floating_point()
        and not others.is_floating_point()
    )


def gpu_loss(problem: LossProblem, precision: str = _PRECISION) -> Tensor:
    """The loss of a problem for which :func:`runs_here` holds; differentiable once, no synchronisation."""
    loss, error = gpu_loss_and_error(problem, precision)
    watch(error, problem.settings.tolerance)
    return loss


def gpu_loss_and_error(problem: LossProblem, precision: str = _PRECISION) -> tuple[Tensor, Tensor]:
    """The loss, and the marginal error sum_i |T 1 - a|_i + sum_j |T^T 1 - b|_j of the plan, both on the device."""
    x, y, lx, ly, s = problem.x, problem.y, problem.labels, problem.y_labels, problem.settings
    assert lx is not None
    loss, error, _, _ = _loss(
        x, y, lx.long(), None if y is None or ly is None else ly.long(), s.margin, s.pos_margin, s.gamma, s.lam,
        s.normalize, s.plan == "uniform", s.tolerance, s.max_iterations, precision, wants_gradient(x, y),
    )  # fmt: skip
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
    from batchot.losses.backends.triton.solve import solve

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


_loss.register_autograd(pull_kept, setup_context=keep_gradients)


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


def watch(error: Tensor, tolerance: float) -> None:
    """Warn of a marginal error above the tolerance: now on a CPU, at a later call on a GPU."""
    if torch.compiler.is_compiling():
        return
    if not error.is_cuda:
        if float(error) > tolerance:
            _warn(float(error), tolerance)
        return
    if torch.cuda.is_current_stream_capturing():
        return
    if error.device not in _watches:
        _watches[error.device] = _Watch()
    if _watches[error.device].look():
        _watches[error.device].send(error, tolerance)


def _warn(error: float, tolerance: float) -> None:
    warnings.warn(
        f"Sinkhorn's iteration on the GPU stopped at a marginal error of {error:.1e}, above tolerance={tolerance:.1e}. "
        "Raise tolerance, lower lam or gamma, or compute this loss on the CPU, where Newton's method finishes it.",
        SinkhornWarning,
        stacklevel=4,
    )
