"""The loss and its gradient in one pass, without a graph of n x m matrices.

With T held fixed the gradient is known in closed form: with w_ij = T_ij / 2 * dM_ij/d(d2_ij),

    dL/dx_i = 2 sum_j w_ij (x_i - y_j),     dL/dy_j = 2 sum_i w_ij (y_j - x_i),

so the forward pass leaves two (n, d) matrices behind and the backward pass only scales them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from inspect import signature
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from batchot.losses.batch import Batch, check_finite, check_misplacement
from batchot.losses.blocks import Rows
from batchot.losses.settings import BatchOTSettings

_MAX_LAM = 40.0  # exp(-lam) times the scalings stays inside float32; above it, the general solver
_FINEST_TOLERANCE = 1e-6  # of float32 kernels
# On other devices and in float64 the general path is quick enough below, and holds eight or so matrices of n x m.
_TILED_PAIRS = 1 << 26


def compiled_kernels() -> ModuleType | None:
    """The module of compiled loops, or None (and a warning) where numba cannot be used."""
    try:
        from numba import config

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
    return None if config.DISABLE_JIT else kernels  # as Python the loops would take minutes


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


class _Once(torch.autograd.Function):
    """A derivative that follows from inputs in a way that cannot be differentiated again."""

    @staticmethod
    def forward(derivative: Tensor, *inputs: Tensor | None) -> Tensor:
        return derivative.view_as(derivative)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            "the loss can be differentiated once: its gradient holds the transport plan fixed, so that a derivative "
            "of it would be wrong. Compute the gradient without create_graph, or give plan='uniform' in float64, "
            "whose plan is fixed indeed."
        )

    jvp = backward

    @staticmethod
    def vmap(*_: Any) -> Any:
        _refuse_vmap()


def _refuse_vmap() -> None:
    raise RuntimeError(
        "torch.vmap cannot batch the loss (nor a Hessian of it): call it for each batch in a loop."
    )


def once(derivative: Tensor, *inputs: Tensor | None) -> Tensor:
    """The derivative with respect to inputs, for which it is an error, and not 0, to be differentiated again."""
    if not torch.is_grad_enabled() and forward_ad._current_level < 0:  # an ordinary backward pass: nobody can
        return derivative
    marked: Tensor = _Once.apply(derivative, *inputs)
    return marked


class _OnceDifferentiable(torch.autograd.Function):
    """x itself, so that what is computed of it by autograd can be differentiated once."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return once(grads[0], *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return once(tangents[0], *ctx.saved_tensors)

    @staticmethod
    def vmap(*_: Any) -> Any:
        _refuse_vmap()


def once_differentiable(batch: Batch) -> Batch:
    """The batch whose embeddings have a first derivative and no second one."""
    y = None if batch.y is None else _OnceDifferentiable.apply(batch.y)
    return replace(batch, x=_OnceDifferentiable.apply(batch.x), y=y)


class _FusedLoss(torch.autograd.Function):
    """L of raw embeddings x and y (or None), with its gradient computed beside it."""

    @staticmethod
    def forward(
        x: Tensor,
        y: Tensor | None,
        labels: Tensor,
        y_labels: Tensor | None,
        settings: BatchOTSettings,
        need_grad: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return _forward(x, y, labels, y_labels, settings, need_grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.inputs = inputs[2:5]
        gradients = [each for each in output[1:] if each is not None]
        ctx.mark_non_differentiable(*gradients)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2], *output[1:])
        ctx.save_for_forward(*inputs[:2], *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, y, grad_x, grad_y = ctx.saved_tensors
        if grads[0] is None:
            return (None,) * 6
        return (
            grads[0] * once(grad_x, x, y) if ctx.needs_input_grad[0] else None,
            grads[0] * once(grad_y, x, y) if ctx.needs_input_grad[1] else None,
            *[None] * 4,
        )

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_y: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        x, y, grad_x, grad_y = ctx.saved_tensors
        if grad_x is None:  # nobody asked for a gradient
            _, grad_x, grad_y = _FusedLoss.apply(x, y, *ctx.inputs, True)
        slopes = [
            (once(grad, x, y) * tangent).sum()
            for grad, tangent in ((grad_x, of_x), (grad_y, of_y))
            if tangent is not None
        ]
        return sum(slopes[1:], slopes[0]), None, None

    @staticmethod
    def vmap(*_: Any) -> Any:
        _refuse_vmap()


def fused_loss(batch: Batch, settings: BatchOTSettings) -> Tensor:
    """The loss of a fusible batch, differentiable once."""
    with torch.autocast(batch.x.device.type, enabled=False):
        x = batch.x if batch.x.dtype == torch.float64 else batch.x.float()
        y = None if batch.y is None else batch.y.to(x.dtype)
        need_grad = torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad))
        if torch.compiler.is_compiling():
            options = [getattr(settings, name) for name in _OPTIONS]
            traced: Tensor = _operator(x, y, batch.labels, batch.y_labels, *options, need_grad)[0]
            return traced
        loss: Tensor = _FusedLoss.apply(x, y, batch.labels, batch.y_labels, settings, need_grad)[0]
    return loss


def _forward(
    x: Tensor,
    y: Tensor | None,
    labels: Tensor,
    y_labels: Tensor | None,
    settings: BatchOTSettings,
    need_grad: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    from batchot.losses.blocks.solve import solve

    batch = Batch(x, labels, y, y_labels, None)
    x, x_norm, centre = prepare(x, settings.normalize, None)
    if y is None:
        rows = Rows(x, x, labels, labels, 0, len(x), settings)
    else:
        assert y_labels is not None
        y, y_norm, _ = prepare(y, settings.normalize, centre)
        rows = Rows(x, y, labels, y_labels, None, len(x), settings)
    solved = solve(rows, need_x=need_grad, need_y=need_grad)
    check_misplacement(solved.loss, batch)
    loss = torch.tensor(solved.loss, dtype=x.dtype, device=x.device)
    grad_x = None if solved.grad_x is None else through_norm(solved.grad_x, x, x_norm)
    if y is None or solved.grad_y is None:
        return loss, grad_x, None
    return loss, grad_x, through_norm(solved.grad_y, y, y_norm)


# What is left free of the settings for which there is a fused loss.
_OPTIONS = ("margin", "pos_margin", "gamma", "lam", "normalize", "plan", "tolerance", "max_iterations")


@torch.library.custom_op("batchot::loss", mutates_args=())
def _operator(
    x: Tensor,
    y: Tensor | None,
    labels: Tensor,
    y_labels: Tensor | None,
    margin: float,
    pos_margin: float,
    gamma: float,
    lam: float,
    normalize: bool,
    plan: str,
    tolerance: float,
    max_iterations: int,
    need_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The fused loss as one node of a graph of torch.compile; gradients that are not there have no rows."""
    options = (margin, pos_margin, gamma, lam, normalize, plan, tolerance, max_iterations)
    check_finite(Batch(x, labels, y, y_labels, None))
    settings = BatchOTSettings(**dict(zip(_OPTIONS, options, strict=True)))  # type: ignore[arg-type]
    loss, grad_x, grad_y = _forward(x, y, labels, y_labels, settings, need_grad)
    none = x.new_empty(0, x.shape[1])
    return loss, none if grad_x is None else grad_x, none.clone() if grad_y is None else grad_y


@_operator.register_fake
def _(x: Tensor, y: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    none = (0, x.shape[1])
    of_x, of_y = (x.shape, none if y is None else y.shape) if rest[-1] else (none, none)
    return x.new_empty(()), x.new_empty(of_x), x.new_empty(of_y)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:2], output[1].detach(), output[2].detach())


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, grad_x, grad_y = ctx.saved_tensors
    return (
        grad * once(grad_x, x, y) if ctx.needs_input_grad[0] else None,
        grad * once(grad_y, x, y) if ctx.needs_input_grad[1] else None,
        *[None] * 11,
    )


_operator.register_autograd(_backward, setup_context=_setup)

for function in (_Once, _OnceDifferentiable, _FusedLoss):  # else it is worked out anew in each call, 50 us
    function.forward.__signature__ = signature(function.forward)  # type: ignore[union-attr]

T = TypeVar("T", bound=Callable[..., Any])


def untraced(function: T) -> T:
    """The function, which torch.compile calls and does not trace; torch.compiler.disable takes seconds to import."""
    disabled = torch._disable_dynamo(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return disabled(*args, **kwargs) if torch.compiler.is_compiling() else function(*args, **kwargs)

    return call  # type: ignore[return-value]


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
