"""Sinkhorn's iteration and Newton's method on rows that only answer what `RowBlock` asks, or on a K in memory.

Newton's method minimises the semi-dual F(x) = sum_i a log (K e^x)_i - b sum_j x_j over x = log v, where rows are exact
and the gradient c - b is the error of the columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from batchot.losses.backends import cpu_kernels as kernels
from batchot.losses.backends.rows import Exchange, RowBlock, Scalings
from batchot.losses.problem import Rows

_STEPS = 40  # of Newton's method on rows
_INNER_STEPS = 100  # of conjugate gradients in one of them
_SINKHORN_STEPS = 20  # before Newton's method from nothing: it needs to be near enough
_HALVINGS = 12  # of a step that does not help
_LONGEST_STEP = 20.0  # in log v: further, e^x may underflow
_RIDGES = 8  # attempts at a positive definite Hessian
_PATIENCE = 16  # steps after which the error must have fallen to
_PROGRESS = 0.3  # of what it was


def precision(rows: Rows) -> type[np.floating]:
    """numpy's name for the type of the embeddings."""
    return np.float64 if rows.x.dtype == torch.float64 else np.float32


def scale(block: RowBlock, exchange: Exchange) -> Scalings:
    """The scalings of a problem. The vectors are the same in every process, so all stop at the same step."""
    itself, first, n = block.rows.itself, block.rows.first or 0, len(block.rows.x)
    found, x = _symmetric(block, exchange) if itself else _alternating(block, exchange)
    if found.error <= block.rows.settings.tolerance:
        return found
    with np.errstate(all="ignore"):  # what is not finite is no better than what was found before
        better = newton_on_rows(block, exchange, x)
    if better.error >= found.error:  # false where the iteration ended in NaN
        return found
    if itself:
        # T is symmetric, so u is v times a number, and the block of all rows takes one for the other
        v = better.v.astype(np.float64)
        both = (v * np.sqrt(better.u[0] / v[first])).astype(better.v.dtype)
        return Scalings(both[first : first + n], both, 2.0 * better.error)
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
    none = np.empty((0, n), u.dtype)  # of K
    kept, error, watch = u, np.inf, _Watch(x)
    for step in range(rows.settings.max_iterations):
        r = exchange.all_rows(block.row_sums(u))
        kept, at = u.copy(), x.copy()
        error = 2.0 * kernels.symmetric_sinkhorn(none, x, r, a, 0.5 * tolerance, step, step + 1, u, P, A)
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


class _Point:
    """x = log v, F there, the scalings, and what the columns c of their plan miss."""

    def __init__(
        self, x: np.ndarray, u: np.ndarray, v: np.ndarray, c: np.ndarray, F: float, b: float
    ) -> None:
        self.x, self.u, self.v, self.c, self.F = x, u, v, c, F
        self.gradient = c - b
        self.error = float(np.abs(self.gradient).sum())


class _Problem(Protocol):
    """F of one problem."""

    b: float  # column mass

    def at(self, x: np.ndarray) -> _Point:
        """The point at x, which a constant moves to where e^x stays in range."""

    def direction(self, point: _Point) -> np.ndarray:
        """H^-1 (c - b)."""


def _newton(
    problem: _Problem, x: np.ndarray, tolerance: float, steps: int, sinkhorn_steps: int = 0
) -> _Point:
    """The point at which the error is at most the tolerance, or where it stands still or the steps end."""
    point = problem.at(x)
    for step in range(steps):
        if point.error <= tolerance or np.isnan(point.error):
            break
        moved = _newton_step(problem, x, point) if step >= sinkhorn_steps else None
        if moved is None:
            moved = problem.at(x + np.log(problem.b / point.c))
            if sinkhorn_steps == 0 and not moved.error < point.error:
                break
        x, point = moved.x, moved
    return point


def _newton_step(problem: _Problem, x: np.ndarray, point: _Point) -> _Point | None:
    """The point that a step from x leads to; None where it does not help."""
    direction = problem.direction(point)
    slope = float(point.gradient @ direction)
    length = min(1.0, _LONGEST_STEP / float(np.abs(direction).max()))
    for _ in range(_HALVINGS):
        tried = problem.at(x - length * direction)
        # near the solution F stands still within its rounding, and the error has to say what helps
        if tried.error < 0.9 * point.error or point.F - tried.F > 0.1 * length * slope > 0.0:
            return tried
        length *= 0.5
    return None


def newton_on_rows(block: RowBlock, exchange: Exchange, start: np.ndarray) -> Scalings:
    """The scalings of a problem from near them."""
    s = block.rows.settings
    point = _newton(_OnRows(block, exchange), start, 0.5 * s.tolerance, min(_STEPS, s.max_iterations))
    return Scalings(point.u, point.v, point.error)


class _OnRows:
    """A problem of which nothing but products with K is to be had."""

    def __init__(self, block: RowBlock, exchange: Exchange) -> None:
        self.block, self.exchange = block, exchange
        self.a, self.b = block.rows.row_mass, block.rows.column_mass
        self.kind = precision(block.rows)

    def at(self, x: np.ndarray) -> _Point:
        x = x - x.max()
        v = np.exp(x).astype(self.kind)
        u, part = self.block.half_step(v)
        c = v.astype(np.float64) * self.exchange.sum(part)
        logs = np.log(self.a) - np.log(u.astype(np.float64))  # of K v
        F = self.a * float(self.exchange.sum(np.array(logs.sum()))) - self.b * float(x.sum())
        return _Point(x, u, v, c, F, self.b)

    def direction(self, point: _Point) -> np.ndarray:
        """By conjugate gradients, to a precision that suits the error that is left."""
        # the diagonal of H is c but for the small part: H is solved as I - ...
        scale = 1.0 / np.sqrt(point.c)
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


def newton_plan(
    K: np.ndarray, a: float, b: float, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, float]:
    """T (n, m) float64 = diag(u) K diag(v) with rows a and columns b, and the column error left (rows are exact)."""
    with np.errstate(all="ignore"):  # an error that is not finite says so
        problem = _InMemory(K, a, b)
        point = _newton(problem, np.zeros(K.shape[1]), tolerance, max_iterations, _SINKHORN_STEPS)
        return problem.plan(point), point.error


@dataclass
class _InMemory:
    """A problem whose K (n, m), float64, is small enough for a factorisation."""

    K: np.ndarray
    a: float
    b: float

    def at(self, x: np.ndarray) -> _Point:
        x = x - x.max()
        v = np.exp(x)
        r = self.K @ v
        u = self.a / r
        F = self.a * np.log(r).sum() - self.b * x.sum()
        return _Point(x, u, v, (u @ self.K) * v, float(F), self.b)

    def plan(self, point: _Point) -> np.ndarray:
        return point.u[:, None] * self.K * point.v

    def direction(self, point: _Point) -> np.ndarray:
        """By Cholesky's factorisation."""
        T = self.plan(point)
        H = torch.from_numpy(T.T @ T).mul_(-1.0 / self.a)
        H += self.b  # singular along (1, .., 1), hence + b, which moves no right side that sums to 0
        diagonal = H.diagonal()
        diagonal += torch.from_numpy(point.c)
        ridge = 1e-13 * self.b  # nearly singular between groups that hardly exchange mass
        for _ in range(_RIDGES):
            diagonal += ridge
            L, failed = torch.linalg.cholesky_ex(H)
            if not failed:
                break
            ridge *= 99.0  # that much more makes a hundred times as much
        gradient = torch.from_numpy(point.gradient).unsqueeze(1)
        step: np.ndarray = torch.cholesky_solve(gradient, L).squeeze(1).numpy()
        return step
