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
    return _symmetric(block, exchange) if block.rows.itself else _alternating(block, exchange)


def _symmetric(block: RowBlock, exchange: Exchange) -> Scalings:
    rows = block.rows
    n, a = len(rows.y), rows.column_mass
    first = rows.first or 0
    u = np.ones(n, precision(rows))
    r = exchange.all_rows(block.row_sums(u))
    x = np.full(n, 0.5 * np.log(n * a / r.sum()))
    u[:] = np.exp(x)
    X, R = np.empty((kernels.MEMORY, n)), np.empty((kernels.MEMORY, n))
    kept, error = u, np.inf
    for step in range(rows.settings.max_iterations):
        r = exchange.all_rows(block.row_sums(u))
        kept = u.copy()
        error = 2.0 * kernels.symmetric_step(x, r, a, step, X, R, u)
        if error <= rows.settings.tolerance or not np.isfinite(error):
            break
    return Scalings(kept[first : first + len(rows.x)], kept, error)


def _alternating(block: RowBlock, exchange: Exchange) -> Scalings:
    rows = block.rows
    m, b = len(rows.y), rows.column_mass
    x, v = np.zeros(m), np.ones(m, precision(rows))
    X, R = np.empty((kernels.MEMORY, m)), np.empty((kernels.MEMORY, m))
    u, kept, error = np.ones(len(rows.x), v.dtype), v, np.inf
    for step in range(rows.settings.max_iterations):
        u, part = block.half_step(v)
        c = exchange.sum(part)
        kept = v.copy()
        error = kernels.column_step(x, c, v, b, step, X, R)
        if error <= rows.settings.tolerance or not np.isfinite(error):
            break
    return Scalings(u, kept, error)
