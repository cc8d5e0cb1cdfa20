"""Sinkhorn's iteration with Anderson's acceleration on rows that somebody holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from batchot.losses import kernels
from batchot.losses.blocks.rows import Exchange, RowBlock, Rows


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
    from batchot.losses.blocks.newton import newton

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
