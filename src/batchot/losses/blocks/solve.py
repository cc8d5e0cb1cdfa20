"""Sinkhorn's iteration and Newton's method on blocks of rows."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from batchot.losses import kernels
from batchot.losses.blocks.device import DeviceRows
from batchot.losses.blocks.rows import Exchange, RowBlock, Rows, Unsolved, Weighed
from batchot.losses.blocks.stored import StoredRows
from batchot.losses.blocks.tiled import TiledRows
from batchot.transport import SinkhornWarning, sinkhorn

_STEPS = 40  # of Newton's method
_INNER_STEPS = 100  # of conjugate gradients in one of them
_HALVINGS = 12  # of a step that does not help
_LONGEST_STEP = 20.0  # in log v: further, e^x may underflow


def newton(block: RowBlock, exchange: Exchange, start: np.ndarray) -> Scalings:
    """The scalings of a problem."""
    problem = _Problem(block, exchange)
    x = start
    point = problem.at(x)
    tolerance = block.rows.settings.tolerance
    for _ in range(min(_STEPS, block.rows.settings.max_iterations)):
        if point.error <= 0.5 * tolerance:
            break
        step = problem.direction(point)
        slope = float(point.gradient @ step)
        length = min(1.0, _LONGEST_STEP / float(np.abs(step).max()))
        moved = None
        for _ in range(_HALVINGS):
            tried = problem.at(x - length * step)
            # near the solution F stands still within its rounding, and the error has to say what helps
            if tried.error < 0.9 * point.error or point.F - tried.F > 0.1 * length * slope > 0.0:
                moved = tried
                break
            length *= 0.5
        if moved is None:  # a step of Sinkhorn's iteration instead
            moved = problem.at(x + np.log(problem.b / point.c))
            if not moved.error < point.error:
                break
        x, point = moved.x, moved
    return Scalings(point.u, point.v, point.error)


class _Point:
    """x, the scalings there, and what the plan of them misses."""

    def __init__(
        self, x: np.ndarray, u: np.ndarray, v: np.ndarray, c: np.ndarray, F: float, b: float
    ) -> None:
        self.x, self.u, self.v, self.c, self.F = x, u, v, c, F
        self.gradient = c - b
        self.error = float(np.abs(self.gradient).sum())


class _Problem:
    def __init__(self, block: RowBlock, exchange: Exchange) -> None:
        self.block, self.exchange = block, exchange
        self.a, self.b = block.rows.row_mass, block.rows.column_mass
        self.kind = precision(block.rows)

    def at(self, x: np.ndarray) -> _Point:
        x = x - x.max()  # a constant changes nothing; e^x stays in range
        v = np.exp(x).astype(self.kind)
        u, part = self.block.half_step(v)
        c = v.astype(np.float64) * self.exchange.sum(part)
        logs = np.log(self.a) - np.log(u.astype(np.float64))  # of K v
        F = self.a * float(self.exchange.sum(np.array(logs.sum()))) - self.b * float(x.sum())
        return _Point(x, u, v, c, F, self.b)

    def direction(self, point: _Point) -> np.ndarray:
        """H^-1 (c - b), to a precision that suits the error that is left."""
        scale = 1.0 / np.sqrt(
            point.c
        )  # the diagonal of H is c but for the small part: H is solved as I - ...
        r = point.gradient * scale
        z, p = np.zeros_like(r), r.copy()
        rest = first = float(r @ r)
        goal = min(0.1, np.sqrt(point.error)) ** 2 * first
        for _ in range(_INNER_STEPS):
            q = scale * self._curvature(point, scale * p)
            bend = float(p @ q)
            if not bend > 0.0:  # along (1, .., 1), or rounding
                break
            z += (rest / bend) * p
            r -= (rest / bend) * q
            before, rest = rest, float(r @ r)
            if rest <= goal:
                break
            p = r + (rest / before) * p
        return scale * z if z.any() else point.gradient / self.b

    def _curvature(self, point: _Point, p: np.ndarray) -> np.ndarray:
        """H p."""
        of_rows = point.u * self.block.row_sums((point.v * p).astype(self.kind))  # T p
        part = self.block.column_sums((point.u * of_rows).astype(self.kind))
        return point.c * p - point.v * self.exchange.sum(part) / self.a


class Alone:
    """One process holds all rows."""

    def all_rows(self, part: np.ndarray) -> np.ndarray:
        return part

    def sum(self, part: np.ndarray) -> np.ndarray:
        return part

    def sum_rows(self, part: Tensor) -> Tensor:
        return part


_PATIENCE = 16  # steps after which the error must have fallen to
_PROGRESS = 0.3  # of what it was


@dataclass(frozen=True)
class Scalings:
    """u of these rows and v of all columns, such that diag(u) K diag(v) has the marginals up to the error."""

    u: np.ndarray  # (n,), in the precision of the embeddings
    v: np.ndarray  # (m,)
    error: float  # sum of the absolute errors of all marginals


def precision(rows: Rows) -> type[np.floating]:
    """numpy's name for the type of the embeddings."""
    return np.float64 if rows.x.dtype == torch.float64 else np.float32


def scale(block: RowBlock, exchange: Exchange) -> Scalings:
    """The scalings of a problem. The vectors are the same in every process, so all stop at the same step."""
    found, x = _symmetric(block, exchange) if block.rows.itself else _alternating(block, exchange)
    if found.error <= block.rows.settings.tolerance:
        return found
    with np.errstate(all="ignore"):  # what is not finite is no better than what was found before
        better = newton(block, exchange, x)
    if better.error >= found.error:  # false where the iteration ended in NaN
        return found
    if block.rows.itself:
        # T is symmetric, so u is v times a number, and the block of all rows takes one for the other
        v = better.v.astype(np.float64)
        first = block.rows.first or 0
        ratio = np.sqrt(better.u[0] / v[first])
        both = (v * ratio).astype(better.v.dtype)
        return Scalings(both[first : first + len(block.rows.x)], both, 2.0 * better.error)
    return better


class _Watch:
    """The best iterate so far, and whether the iteration still gets on."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.error = x.copy(), np.inf
        self._last, self._steps = np.inf, 0

    def stalls(self, x: np.ndarray, error: float) -> bool:
        if error < self.error:
            self.x, self.error = x.copy(), error
        self._steps += 1
        if self._steps % _PATIENCE:
            return not np.isfinite(error)
        slow = self.error > _PROGRESS * self._last
        self._last = self.error
        return slow or not np.isfinite(error)


def _symmetric(block: RowBlock, exchange: Exchange) -> tuple[Scalings, np.ndarray]:
    """Scalings, and log u of the best step."""
    rows = block.rows
    n, a, tolerance = len(rows.y), rows.column_mass, rows.settings.tolerance
    first = rows.first or 0
    u = np.ones(n, precision(rows))
    r = exchange.all_rows(block.row_sums(u))
    x = np.full(n, 0.5 * np.log(n * a / r.sum()))
    u[:] = np.exp(x)
    P, A = kernels.room(n)
    kept, error, watch = u, np.inf, _Watch(x)
    for step in range(rows.settings.max_iterations):
        r = exchange.all_rows(block.row_sums(u))
        kept, at = u.copy(), x.copy()
        error = 2.0 * kernels.symmetric_step(x, r, a, 0.5 * tolerance, step, P, A, u)
        if error <= tolerance or watch.stalls(at, error):
            break
    return Scalings(kept[first : first + len(rows.x)], kept, error), watch.x


def _alternating(block: RowBlock, exchange: Exchange) -> tuple[Scalings, np.ndarray]:
    """Scalings, and log v of the best step."""
    rows = block.rows
    m, b, tolerance = len(rows.y), rows.column_mass, rows.settings.tolerance
    x, v = np.zeros(m), np.ones(m, precision(rows))
    P, A = kernels.room(m)
    u, kept, error, watch = np.ones(len(rows.x), v.dtype), v, np.inf, _Watch(x)
    for step in range(rows.settings.max_iterations):
        u, part = block.half_step(v)
        c = exchange.sum(part)
        kept, at = v.copy(), x.copy()
        error = kernels.column_step(x, c, v, b, tolerance, step, P, A)
        if error <= tolerance or watch.stalls(at, error):
            break
    return Scalings(u, kept, error), watch.x


STORED_PAIRS = 1 << 27  # more than that, and G and K would take over 1 GiB
_COMPILED_PAIRS = 1 << 18  # below, one compiled call iterates, with a Newton's method of its own
_GENERAL_PAIRS = 1 << 24  # beyond, the general solver would run for minutes


def block_of(rows: Rows, stack: ExitStack) -> RowBlock:
    """The fastest block for rows of this size, type and device; the stack closes its threads."""
    if rows.x.device.type != "cpu" or rows.x.dtype == torch.float64:
        return DeviceRows(rows)
    stored = len(rows.x) * len(rows.y) <= STORED_PAIRS
    return StoredRows(rows, stack) if stored else TiledRows(rows, stack)


def solve(rows: Rows, exchange: Exchange | None = None, need_x: bool = True, need_y: bool = True) -> Weighed:
    """Loss and gradient of a problem, from these rows and what the other holders exchange."""
    exchange = exchange or Alone()
    with ExitStack() as stack:
        block = block_of(rows, stack)
        if rows.settings.plan == "uniform":
            # no pair of a sample and itself
            mass = rows.row_mass / (rows.total - 1) if rows.itself else rows.row_mass * rows.column_mass
            kind = precision(rows)
            found = Scalings(np.full(len(rows.x), mass, kind), np.ones(len(rows.y), kind), 0.0)
        else:
            found = _scale(block, exchange)
        part = block.weigh(found.u, found.v, need_x, need_y)
    loss = float(exchange.sum(np.array(part.loss)))
    grad_y = None if part.grad_y is None else exchange.sum_rows(part.grad_y)
    return Weighed(loss, part.grad_x, grad_y)


def _scale(block: RowBlock, exchange: Exchange) -> Scalings:
    rows, s = block.rows, block.rows.settings
    alone = isinstance(exchange, Alone)
    if alone and isinstance(block, StoredRows) and block.K.size < _COMPILED_PAIRS:
        from batchot.losses.kernels import scale as scale_small

        u, v = (np.empty(size, np.float32) for size in block.K.shape)
        error = scale_small(block.K, rows.itself, s.tolerance, s.max_iterations, u, v)
        found = Scalings(u, v, error)
    else:
        found = scale(block, exchange)
    if found.error <= s.tolerance:
        return found
    if len(rows.y) * rows.total <= _GENERAL_PAIRS:
        if not (alone and isinstance(block, StoredRows)):
            raise Unsolved
        # distances that are not finite make a loss that is not either, which says so
        return _scale_generally(block) if np.isfinite(block.K.sum()) else found
    warnings.warn(
        f"Sinkhorn stopped after {s.max_iterations} iterations at a marginal error of {found.error:.1e}, above "
        f"tolerance={s.tolerance:.1e} (lam={s.lam:g}, {rows.total} x {len(rows.y)} pairs). Raise max_iterations or "
        "tolerance, or lower lam.",
        SinkhornWarning,
        stacklevel=2,
    )
    return found


def _scale_generally(block: StoredRows) -> Scalings:
    """By the general solver, for a problem on which float32 or the acceleration failed. K becomes the plan."""
    rows, (n, m) = block.rows, block.K.shape
    lowest = np.exp(-np.float64(rows.settings.lam))
    D = torch.from_numpy(block.K).double().clamp(min=lowest).log_().neg_()
    mask = torch.eye(n, dtype=torch.bool, device="cpu") if rows.itself else None
    plan = sinkhorn(
        D, 1.0, mask=mask, max_iterations=rows.settings.max_iterations, tolerance=rows.settings.tolerance
    )
    block.K[:] = plan.coupling.float().numpy()
    return Scalings(np.ones(n, np.float32), np.ones(m, np.float32), float(plan.marginal_error))
