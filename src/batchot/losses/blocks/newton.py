"""Newton's method on rows that somebody holds, where Sinkhorn's iteration crawls.

With u eliminated (rows exact), the dual is the smooth convex function of x = log v

    F(x) = a sum_i log (K e^x)_i - b sum_j x_j,

whose gradient is c - b (the column error of the plan) and whose Hessian is H = diag(c) - T^T T / a. H is never made:
conjugate gradients ask for H p alone, which is K and K^T times a vector. Groups of points that hardly exchange mass,
such as classes at a large lam, give H as many small eigenvalues, and the conjugate gradients as many more steps.
Source: Brauer, Clason, Lorenz and Wirth, A Sinkhorn-Newton method for entropic optimal transport (2017).
"""

from __future__ import annotations

import numpy as np

from batchot.losses.blocks.rows import Exchange, RowBlock
from batchot.losses.blocks.scaling import Scalings, precision

_STEPS = 40  # of Newton's method
_INNER_STEPS = 100  # of conjugate gradients in one of them
_HALVINGS = 12  # of a step that does not help
_LONGEST_STEP = 20.0  # in log v: further, e^x may underflow


def newton(block: RowBlock, exchange: Exchange, start: np.ndarray) -> Scalings:
    """The scalings of a problem.

    Args:
        block, exchange: see `scale`
        start: log v, float64 (m,), the same in all processes

    Returns:
        The best ones that were found.
    """
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
