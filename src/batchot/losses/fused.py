"""The loss and its gradient in one pass on a CPU, without a graph of n x m matrices.

With T held fixed the gradient is known in closed form: with w_ij = T_ij / 2 * dM_ij/d(d2_ij),

    dL/dx_i = 2 sum_j w_ij (x_i - y_j),     dL/dy_j = 2 sum_i w_ij (y_j - x_i),

so the forward pass leaves two (n, d) matrices behind and the backward pass only scales them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from batchot.losses.batch import Batch, check_misplacement
from batchot.losses.settings import BatchOTSettings

_MAX_LAM = 40.0  # exp(-lam) times the scalings stays inside float32; above it, the general solver
_FINEST_TOLERANCE = 1e-6  # of float32 kernels
_THREADED_PAIRS = 1 << 18  # below, starting threads costs more than they save


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
    return (
        batch.x.device.type == "cpu"
        and batch.x.dtype != torch.float64
        and (batch.y is None or batch.y.dtype != torch.float64)
        and batch.indices_tuple is None
        and batch.labels is not None
        and suits_kernels(settings)
        and len(batch.x) > 1
        and compiled_kernels() is not None
    )


def suits_kernels(settings: BatchOTSettings) -> bool:
    """Whether the compiled float32 loops compute the loss with these options."""
    return (
        settings.grad == "detach"
        and settings.distance_power == 2
        and settings.power == 1
        and (settings.plan == "uniform" or settings.lam <= _MAX_LAM)
        and settings.tolerance >= _FINEST_TOLERANCE
    )


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
    with torch.autocast("cpu", enabled=False):
        x, y = batch.x.float(), None if batch.y is None else batch.y.float()
        need_grad = torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad))
        loss: Tensor = _FusedLoss.apply(x, y, batch, settings, need_grad)
    return loss


def _forward(
    x: Tensor, y: Tensor | None, batch: Batch, settings: BatchOTSettings, need_grad: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    x, x_norm, centre = prepare(x, settings.normalize, None)
    if y is not None:
        y, y_norm, _ = prepare(y, settings.normalize, centre)
    loss, w, rho, kappa = _loss_and_weights(x, y, batch, settings)
    if not need_grad:
        return loss, None, None
    if y is None:  # w is symmetric: rows and columns give the same
        grad_x = torch.addmm(rho.unsqueeze(1) * x, w, x, alpha=-1.0).mul_(4.0)
        return loss, through_norm(grad_x, x, x_norm), None
    grad_x = torch.addmm(rho.unsqueeze(1) * x, w, y, alpha=-1.0).mul_(2.0)
    grad_y = torch.addmm(kappa.unsqueeze(1) * y, w.T, x, alpha=-1.0).mul_(2.0)
    return loss, through_norm(grad_x, x, x_norm), through_norm(grad_y, y, y_norm)


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


def _loss_and_weights(
    x: Tensor, y: Tensor | None, batch: Batch, settings: BatchOTSettings
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """L, w (n, m), its row sums and its column sums."""
    k = compiled_kernels()
    assert k is not None and batch.labels is not None
    itself = y is None
    y = x if y is None else y
    n, m = len(x), len(y)
    if itself:
        lx = ly = integer_labels(batch.labels)[0]
    else:
        assert batch.y_labels is not None
        lx, ly = integer_labels(batch.labels, batch.y_labels)
    G = torch.mm(x, y.T).numpy()
    x2 = (x * x).sum(1).numpy()
    y2 = x2 if itself else (y * y).sum(1).numpy()
    K = np.empty((n, m), np.float32)
    a, b = 1.0 / n, 1.0 / m
    margin, pos_margin = np.float32(settings.margin), np.float32(settings.pos_margin)
    uniform = settings.plan == "uniform"
    with ExitStack() as stack:
        over_rows = _row_runner(n, m, stack)
        if uniform:
            u = np.full(n, 1.0 / (n - 1) / n if itself else a * b, np.float32)
            v = np.ones(m, np.float32)
        else:
            gamma, lam = np.float32(settings.gamma), np.float32(settings.lam)
            over_rows(
                lambda i, j: k.kernel_rows(G, x2, y2, lx, ly, margin, pos_margin, gamma, lam, itself, i, j, K)
            )
            u, v, error = _scale(k, K, a, b, itself, settings, over_rows)
            if not error <= settings.tolerance:
                check_misplacement(float(K.sum()), batch)
                u, v = _scale_generally(K, itself, settings)
        rho = np.empty(n, np.float32)
        column_parts: list[np.ndarray] = []

        def weigh(i: int, j: int) -> float:
            kappa = np.zeros(0 if itself else m, np.float64)
            column_parts.append(kappa)
            return k.weight_rows(
                G, x2, y2, lx, ly, margin, pos_margin, u, v, itself, uniform, i, j, K, rho, kappa
            )

        loss = sum(over_rows(weigh))
    check_misplacement(loss, batch)
    kappa = rho if itself else np.sum(column_parts, axis=0).astype(np.float32)
    return (
        torch.tensor(loss, dtype=torch.float32),
        torch.from_numpy(K),
        torch.from_numpy(rho),
        torch.from_numpy(kappa),
    )


def integer_labels(*labels: Tensor) -> list[np.ndarray]:
    """Label vectors as int32 with the same meaning (narrow, so that comparisons vectorise with float32)."""
    given = [each.detach().numpy() for each in labels]
    with np.errstate(invalid="ignore"):  # a value that does not fit fails the comparison below
        narrow = [each.astype(np.int32) for each in given]
    if all((small == each).all() for small, each in zip(narrow, given, strict=True)):
        return narrow
    _, codes = np.unique(np.concatenate(given), return_inverse=True)
    return np.split(codes.astype(np.int32), np.cumsum([len(each) for each in given])[:-1])


def _row_runner(n: int, m: int, stack: ExitStack) -> Callable[[Callable[[int, int], Any]], list[Any]]:
    """A function that applies work(first, last) to all rows: at once, or shared among torch's number of threads."""
    threads = min(torch.get_num_threads(), n)
    if n * m < _THREADED_PAIRS or threads == 1:
        return lambda work: [work(0, n)]
    # Threads of this call alone: nothing is left over that a fork or a second caller could trip on.
    pool = stack.enter_context(ThreadPoolExecutor(threads))
    edges = np.linspace(0, n, threads + 1).astype(int).tolist()
    return lambda work: list(pool.map(work, edges[:-1], edges[1:]))


def _scale(
    k: ModuleType,
    K: np.ndarray,
    a: float,
    b: float,
    itself: bool,
    settings: BatchOTSettings,
    over_rows: Callable[[Callable[[int, int], Any]], list[Any]],
) -> tuple[np.ndarray, np.ndarray, float]:
    """The scalings u (n,) and v (m,) of K, and the marginal error left."""
    n, m = K.shape
    u = np.empty(n, np.float32)
    if n * m < _THREADED_PAIRS:
        from batchot.losses.newton_kernels import scale

        v = np.empty(m, np.float32)
        error = scale(K, itself, settings.tolerance, settings.max_iterations, u, v)
        return u, v, error
    X, R = np.empty((k.MEMORY, m)), np.empty((k.MEMORY, m))
    error = np.inf
    if itself:
        r = np.empty(n)
        u.fill(1.0)
        over_rows(lambda i, j: k.matvec_rows(K, u, i, j, r))
        x = np.full(n, 0.5 * np.log(n * a / r.sum()))
        u[:] = np.exp(x)
        for step in range(settings.max_iterations):
            over_rows(lambda i, j: k.matvec_rows(K, u, i, j, r))
            kept = u.copy()
            error = 2.0 * k.symmetric_step(x, r, a, step, X, R, u)
            if error <= settings.tolerance or not np.isfinite(error):
                break
        return kept, kept, error
    x, v, r = np.zeros(m), np.ones(m, np.float32), np.empty(n)
    for step in range(settings.max_iterations):

        def half_step(i: int, j: int) -> np.ndarray:
            part = np.zeros(m)
            k.half_step_rows(K, v, a, i, j, u, r, part)
            return part

        c = np.sum(over_rows(half_step), axis=0)
        kept = v.copy()
        error = k.column_step(x, c, v, b, step, X, R)
        if error <= settings.tolerance or not np.isfinite(error):
            break
    return u, kept, error


def _scale_generally(K: np.ndarray, itself: bool, settings: BatchOTSettings) -> tuple[np.ndarray, np.ndarray]:
    """The scalings by the general solver, for a problem on which float32 or the acceleration failed."""
    from batchot.transport import sinkhorn

    n, m = K.shape
    D = torch.from_numpy(K).double().clamp(min=np.exp(-_MAX_LAM)).log_().neg_()
    mask = torch.eye(n, dtype=torch.bool) if itself else None
    plan = sinkhorn(D, 1.0, mask=mask, max_iterations=settings.max_iterations, tolerance=settings.tolerance)
    K[:] = plan.coupling.float().numpy()
    return np.ones(n, np.float32), np.ones(m, np.float32)
