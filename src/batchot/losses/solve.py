"""From a problem to its loss: one table picks the backend, and one autograd function holds the gradient.

With T held fixed the gradient is known in closed form: with w_ij = T_ij / 2 * dM_ij/d(d2_ij),

    dL/dx_i = 2 sum_j w_ij (x_i - y_j),     dL/dy_j = 2 sum_i w_ij (y_j - x_i),

so that the forward pass leaves two (n, d) matrices behind and the backward pass only scales them. What has no such
gradient takes the general path.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from inspect import signature
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from batchot.losses.backends.general import (
    general_loss,
    general_losses,
    general_scalings,
    keep_gradients,
    once,
    pull_kept,
    refuse_vmap,
    scaled,
    wants_gradient,
)
from batchot.losses.backends.rows import Alone, Exchange, RowBlock, Scalings, Unsolved, Weighed
from batchot.losses.problem import (
    Batches,
    Distance,
    Problem,
    Rows,
    Term,
    at_working_precision,
    blocks_of,
    check_finite,
    check_misplacement,
    named_rows,
    prepare,
    through_norm,
)
from batchot.losses.settings import BatchOTSettings
from batchot.transport import SinkhornWarning

T = TypeVar("T", bound=Callable[..., Any])


def untraced(function: T) -> T:
    """The function, which torch.compile calls and does not trace; torch.compiler.disable takes seconds to import."""
    disabled = torch._disable_dynamo(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return disabled(*args, **kwargs) if torch.compiler.is_compiling() else function(*args, **kwargs)

    return call  # type: ignore[return-value]


# ---- which backend

Backend = Literal["triton", "tiled", "stored", "compiled", "strips", "general"]
Of = Literal["batch", "term", "ranks"]


class Case(NamedTuple):
    """The problems that a backend takes: those with more pairs than this."""

    backend: Backend
    device: str | None  # None: any
    double: bool | None  # whether float64; None: any type
    batch: int  # of one batch or two in a call of their own
    term: int  # of a term of a cross-modal loss
    ranks: int  # of rows that several processes hold
    held: int  # of the rows in this process


NEVER = 1 << 62
_AT_ONCE = (1 << 18) - 1  # pairs; to iterate on more from Python costs nothing any more
# The first one that takes a problem, and runs here, computes it; what is left over, and every problem whose gradient is
# not the one above, takes the general path, with the same result.
TABLE: tuple[Case, ...] = (
    #    backend     device  double     batch     term    ranks     held
    Case("triton",   "cuda", False,         0,   NEVER,   NEVER,       0),
    Case("tiled",    "cpu",  False,         0,       0,       0, 1 << 27),  # beyond, G and K take over 1 GiB
    Case("stored",   "cpu",  False,  _AT_ONCE, _AT_ONCE,     0,       0),
    Case("compiled", "cpu",  False,         0,       0,   NEVER,       0),  # stored, scaled by one compiled call
    Case("strips",   "cpu",  True,    1 << 26, 1 << 26,       0,       0),  # below, the general path is quick enough
    Case("strips",   None,   None,    1 << 26, 1 << 26, 1 << 20,       0),  # and holds eight or so n x m matrices
)  # fmt: skip
_STACKED_ROWS = 512  # of all modalities; beyond, a term is large enough for a call (and threads) of its own
_GENERAL_PAIRS = 1 << 24  # beyond, the general solver would run for minutes
_MAX_LAM = 40.0  # exp(-lam) times the scalings stays inside float32; above it, the general solver
_FINEST_TOLERANCE = 1e-6  # of float32 kernels


def backends_for(device: str, double: bool, of: Of, pairs: int, held: int) -> list[Backend]:
    """Backends for a problem of so many pairs, of which this process holds so many, best first."""
    return [
        case.backend
        for case in TABLE
        if case.device in (None, device)
        and case.double in (None, double)
        and pairs > getattr(case, of)
        and held > case.held
    ]


def backend_of(p: Problem, of: Of = "batch") -> Backend:
    """Who computes a problem."""
    double = torch.float64 in (p.x.dtype, p.columns.dtype)
    if (
        p.distance is None
        and p.pairs is None
        and p.labels is not None
        and (p.y is None or p.y_labels is not None)
        and len(p.x) > 1
        and _suits(p.settings, double)
    ):
        pairs = len(p.x) * len(p.columns)
        for backend in backends_for(p.x.device.type, double, of, pairs, pairs):
            if _runs(backend, p):
                return backend
    return "general"


def _suits(s: BatchOTSettings, double: bool) -> bool:
    """Whether the gradient is the one above and the kernel fits into numbers."""
    return (
        s.grad == "detach"
        and s.distance_power == 2
        and s.power == 1
        and (s.plan == "uniform" or s.lam <= _MAX_LAM)
        and (double or s.tolerance >= _FINEST_TOLERANCE)
    )


def _runs(backend: Backend, p: Problem) -> bool:
    if backend == "triton":
        from batchot.losses.backends.triton import runs_here

        return runs_here(p)
    return compiled_kernels() is not None


def compiled_kernels() -> ModuleType | None:
    """The module of compiled loops, or None (and a warning) where numba cannot be used."""
    try:
        from numba import config

        from batchot.losses.backends import cpu_kernels
    except (ImportError, RuntimeError) as error:  # RuntimeError: numba finds no folder for what it compiles
        warnings.warn(
            f"numba cannot be used ({error}); losses take the general path, with the same results, more slowly. "
            "Install numba, or set NUMBA_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return None if config.DISABLE_JIT else cpu_kernels  # as Python the loops would take minutes


# ---- losses


def loss_of(problem: Problem) -> Tensor:
    """The loss of one problem."""
    problem = named_rows(problem)
    x = problem.x
    if len(x) == 0 or len(problem.columns) == 0:  # no pair, or no label that counts
        return 0.0 * at_working_precision(x).sum()
    backend = backend_of(problem)
    if backend == "triton":
        from batchot.losses.backends.triton import gpu_loss

        return gpu_loss(problem)  # waits for nothing: NaN in it is NaN in the loss
    if x.is_cuda:
        check_finite(x, problem.y)
    return _general_loss(problem) if backend == "general" else _closed_loss(problem, backend)


_general_loss = untraced(general_loss)


def term_losses(
    terms: Sequence[Term], batches: Batches, settings: Sequence[BatchOTSettings], distance: Distance | None
) -> Tensor:
    """L of every term, (k,); 0 for a term without pairs."""
    paired = [i for i, term in enumerate(terms) if term.has_pairs]
    some, chosen = [terms[i] for i in paired], [settings[i] for i in paired]
    found: Tensor | list[Tensor] | None = None
    if distance is None and paired and _is_stackable(batches, chosen):
        found = _stacked_losses(some, batches, chosen)
        if found is not None and len(paired) == len(terms):
            return found
    if found is None:
        found = _singly([term.problem(batches, s, distance) for term, s in zip(some, chosen, strict=True)])
    losses = dict(zip(paired, found, strict=True))
    return torch.stack([losses.get(i, term.zero(batches)) for i, term in enumerate(terms)])


def _is_stackable(batches: Batches, settings: Sequence[BatchOTSettings]) -> bool:
    """Whether all terms are one problem for the compiled loops."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False  # which see the operator of a single term, and no numbers
    return (
        all(x.device.type == "cpu" and x.dtype != torch.float64 for x, _ in batches.values())
        and sum(len(x) for x, _ in batches.values()) <= _STACKED_ROWS
        and all(_suits(s, double=False) and s.normalize == settings[0].normalize for s in settings)
        and compiled_kernels() is not None
    )


def _stacked_losses(
    terms: Sequence[Term], batches: Batches, settings: Sequence[BatchOTSettings]
) -> Tensor | None:
    """The losses of terms as blocks of one matrix; None where one of them is beyond float32."""
    from batchot.losses.backends.cpu import solve_stack

    with torch.autocast("cpu", enabled=False):
        Z = torch.cat([x.float() for x, _ in batches.values()])  # (N, d)
        labels = [labels for _, labels in batches.values()]
        blocks = np.array(blocks_of(terms, batches), np.int64)
        solved = solve_stack(Z.detach(), labels, blocks, settings)
        if solved is None:
            return None
        losses, pull = solved
        stacked: Tensor = _Found.apply((losses, lambda grad, Z, _: (once(pull(grad), Z, grad),)), Z)
        return stacked


def _singly(problems: Sequence[Problem]) -> list[Tensor]:
    """Every term by its backend, those of the general path in stacks of like ones."""
    losses: dict[int, Tensor] = {}
    for i, problem in enumerate(problems):
        if (backend := backend_of(problem, "term")) != "general":
            losses[i] = _closed_loss(problem, backend)
    rest = [i for i in range(len(problems)) if i not in losses]
    losses.update(zip(rest, general_losses([problems[i] for i in rest]), strict=True))
    return [losses[i] for i in range(len(problems))]


# ---- the autograd function

Solved = tuple[Tensor, Tensor | None, Tensor | None]  # the loss, and its gradient on raw x and y
# from the gradient on losses, inputs and which need it: theirs
Pull = Callable[..., tuple[Tensor | None, ...]]


class _Closed(torch.autograd.Function):
    """L of raw embeddings x and y (or None), with its gradient computed beside it, for torch.func and dual numbers."""

    @staticmethod
    def forward(
        x: Tensor,
        y: Tensor | None,
        labels: Tensor | None,
        y_labels: Tensor | None,
        need_grad: bool,
        solve: Callable[..., Solved],
    ) -> Solved:
        return solve(x, y, labels, y_labels, need_grad)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.labels, ctx.solve = inputs[2:4], inputs[5]
        ctx.mark_non_differentiable(*[each for each in output[1:] if each is not None])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2], *output[1:])
        ctx.save_for_forward(*inputs[:2], *output[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, y, grad_x, grad_y = ctx.saved_tensors
        if grads[0] is None:
            return (None,) * 6
        return (*scaled(grads[0], x, y, grad_x, grad_y, ctx.needs_input_grad), *[None] * 4)

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_y: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        x, y, grad_x, grad_y = ctx.saved_tensors
        if grad_x is None:  # nobody asked for a gradient
            _, grad_x, grad_y = _Closed.apply(x, y, *ctx.labels, True, ctx.solve)
        slopes = [
            (once(grad, x, y) * tangent).sum()
            for grad, tangent in ((grad_x, of_x), (grad_y, of_y))
            if tangent is not None
        ]
        return sum(slopes[1:], slopes[0]), None, None

    @staticmethod
    def vmap(*_: Any) -> Any:
        refuse_vmap()


# PyTorch asks for it in every call, and without it Python makes it anew, for 20 us.
_Closed.forward.__signature__ = signature(_Closed.forward)  # type: ignore[attr-defined]


class _Found(torch.autograd.Function):
    """Losses that are found already, of raw embeddings; in the old form, which costs 60 us less a call."""

    @staticmethod
    def forward(ctx: Any, found: tuple[Tensor, Pull], *inputs: Tensor | None) -> Tensor:
        losses, ctx.pull = (
            found  # in a tuple: an input that is returned would be a view, which nobody may change
        )
        ctx.save_for_backward(*inputs)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.pull(grad, *ctx.saved_tensors, ctx.needs_input_grad[1:])


def closed_loss(
    x: Tensor, y: Tensor | None, labels: Tensor | None, y_labels: Tensor | None, solve: Callable[..., Solved]
) -> Tensor:
    """The loss that `solve` finds with its gradient, differentiable once."""
    need_grad = wants_gradient(x, y)
    loss: Tensor
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        loss = _Closed.apply(x, y, labels, y_labels, need_grad, solve)[0]
        return loss
    at = x.detach(), None if y is None else y.detach()
    loss, grad_x, grad_y = solve(*at, labels, y_labels, need_grad)
    if grad_x is None:
        return loss

    def pull(grad: Tensor, x: Tensor, y: Tensor | None, needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
        return scaled(grad, x, y, grad_x, grad_y, needed)

    loss = _Found.apply((loss, pull), x, y)
    return loss


def _closed_loss(problem: Problem, backend: Backend) -> Tensor:
    with torch.autocast(problem.x.device.type, enabled=False):
        x = at_working_precision(problem.x)
        y = None if problem.y is None else problem.y.to(x.dtype)
        labels, y_labels = problem.labels, problem.y_labels
        if torch.compiler.is_compiling():
            options = [getattr(problem.settings, name) for name in _OPTIONS]
            traced: Tensor = _operator(x, y, labels, y_labels, *options, wants_gradient(x, y))[0]
            return traced
        return closed_loss(x, y, labels, y_labels, partial(_solve, problem.settings, backend))


def _solve(
    settings: BatchOTSettings,
    backend: Backend,
    x: Tensor,
    y: Tensor | None,
    labels: Tensor,
    y_labels: Tensor | None,
    need_grad: bool,
) -> Solved:
    """Loss and gradient on raw embeddings, all of them here."""
    unit, norm, centre = prepare(x, settings.normalize, None)
    if y is None:
        rows = Rows(unit, unit, labels, labels, 0, len(x), settings)
    else:
        assert y_labels is not None
        unit_y, y_norm, _ = prepare(y, settings.normalize, centre)
        rows = Rows(unit, unit_y, labels, y_labels, None, len(x), settings)
    solved = solve_rows(rows, backend, Alone(), need_grad, need_grad)
    check_misplacement(solved.loss, x)
    loss = torch.tensor(solved.loss, dtype=x.dtype, device=x.device)
    grad_x = None if solved.grad_x is None else through_norm(solved.grad_x, unit, norm)
    if solved.grad_y is None:
        return loss, grad_x, None
    return loss, grad_x, through_norm(solved.grad_y, unit_y, y_norm)


# What is left free of the settings for which there is a closed form.
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
    """The loss as one node of a graph of torch.compile; gradients that are not there have no rows."""
    options = (margin, pos_margin, gamma, lam, normalize, plan, tolerance, max_iterations)
    check_finite(x, y)
    settings = BatchOTSettings(**dict(zip(_OPTIONS, options, strict=True)))  # type: ignore[arg-type]
    backend = backend_of(Problem(x, labels, y, y_labels, None, settings))
    loss, grad_x, grad_y = _solve(settings, backend, x, y, labels, y_labels, need_grad)
    none = x.new_empty(0, x.shape[1])
    return loss, none if grad_x is None else grad_x, none.clone() if grad_y is None else grad_y


@_operator.register_fake
def _(x: Tensor, y: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    none = (0, x.shape[1])
    of_x, of_y = (x.shape, none if y is None else y.shape) if rest[-1] else (none, none)
    return x.new_empty(()), x.new_empty(of_x), x.new_empty(of_y)


_operator.register_autograd(pull_kept, setup_context=keep_gradients)


# ---- rows


def solve_rows(
    rows: Rows, backend: Backend, exchange: Exchange, need_x: bool = True, need_y: bool = True
) -> Weighed:
    """Loss and gradient of a problem, from these rows and what the other holders exchange."""
    with ExitStack() as stack:
        block = _block(rows, backend, stack)
        if rows.settings.plan == "uniform":
            # no pair of a sample and itself
            mass = rows.row_mass / (rows.total - 1) if rows.itself else rows.row_mass * rows.column_mass
            kind = np.float64 if rows.x.dtype == torch.float64 else np.float32
            found = Scalings(np.full(len(rows.x), mass, kind), np.ones(len(rows.y), kind), 0.0)
        else:
            found = _scale(block, backend, exchange)
        part = block.weigh(found.u, found.v, need_x, need_y)
    loss = float(exchange.sum(np.array(part.loss)))
    grad_y = None if part.grad_y is None else exchange.sum_rows(part.grad_y)
    return Weighed(loss, part.grad_x, grad_y)


def _block(rows: Rows, backend: Backend, stack: ExitStack) -> RowBlock:
    """Rows as a backend holds them; the stack closes its threads."""
    if backend == "strips":
        from batchot.losses.backends.rows import TorchRows

        return TorchRows(rows)
    from batchot.losses.backends.cpu import StoredRows, TiledRows

    return TiledRows(rows, stack) if backend == "tiled" else StoredRows(rows, stack)


def _scale(block: RowBlock, backend: Backend, exchange: Exchange) -> Scalings:
    """The scalings of a problem, whatever it takes."""
    from batchot.losses.backends.cpu import StoredRows, scale_at_once
    from batchot.losses.backends.iterate import scale

    rows, s = block.rows, block.rows.settings
    if backend == "compiled" and isinstance(block, StoredRows):
        u, v = (np.empty(size, np.float32) for size in block.K.shape)
        error = scale_at_once(block.K, rows.itself, s.tolerance, s.max_iterations, u, v)
        found = Scalings(u, v, error)
    else:
        found = scale(block, exchange)
    if found.error <= s.tolerance:
        return found
    if len(rows.y) * rows.total <= _GENERAL_PAIRS:
        if not (isinstance(exchange, Alone) and isinstance(block, StoredRows)):
            raise Unsolved
        # distances that are not finite make a loss that is not either, which says so
        return general_scalings(block.K, rows) if np.isfinite(block.K.sum()) else found
    warnings.warn(
        f"Sinkhorn stopped after {s.max_iterations} iterations at a marginal error of {found.error:.1e}, above "
        f"tolerance={s.tolerance:.1e} (lam={s.lam:g}, {rows.total} x {len(rows.y)} pairs). Raise max_iterations or "
        "tolerance, or lower lam.",
        SinkhornWarning,
        stacklevel=2,
    )
    return found
