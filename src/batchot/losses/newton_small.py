"""The scaling of one small transport problem: in float32, and by Newton's method in float64 where that fails.

With u eliminated (rows exact), the dual is the smooth convex function of x = log v

    F(x) = a sum_i log (K e^x)_i - b sum_j x_j,

whose gradient is c - b (the column error of the plan) and whose Hessian is diag(c) - T^T T / a. It converges where
Sinkhorn's iteration crawls: between groups of points that hardly exchange mass. Source: Brauer, Clason, Lorenz and
Wirth, A Sinkhorn-Newton method for entropic optimal transport (2017).

Newton's method is written for numpy: matrix products and a factorisation are most of it, few batches need it, and
numba would compile it for many seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from batchot.losses.kernels import room, sinkhorn, symmetric_sinkhorn

NEWTON_SIZE = 256  # a Newton step solves a system of this size at most
_FLOAT32_STEPS = 100  # what has not converged by then hardly ever does
_SINKHORN_STEPS = 20  # Newton's method needs to be near enough
_HALVINGS = 12  # of a Newton step that does not help
_LONGEST_STEP = 20.0  # in log v: further, e^x may underflow
_RIDGES = 8  # attempts at a positive definite Hessian


def scale(
    K: np.ndarray, itself: bool, tolerance: float, max_iterations: int, u: np.ndarray, v: np.ndarray
) -> float:
    """u (n,) and v (m,) such that diag(u) K diag(v) has rows 1/n and columns 1/m; returns the marginal error left.

    Where float32 or the accelerated iteration fails, K becomes the plan itself, found in float64, and u and v 1.
    """
    n, m = K.shape
    a, b = 1.0 / n, 1.0 / m
    small = min(n, m) <= NEWTON_SIZE
    steps = min(max_iterations, _FLOAT32_STEPS) if small else max_iterations
    if itself:  # both marginals of a symmetric plan are wrong where one is
        error: float = 2.0 * symmetric_sinkhorn(K, a, 0.5 * tolerance, steps, u, *room(n))
        v[:] = u
    else:
        error = sinkhorn(K, a, b, tolerance, steps, u, v, np.empty(n), np.empty(m, np.float32), *room(m))
    if error <= tolerance or not small:
        return error
    # Half the tolerance is kept for the rounding of T to float32.
    across = m > n
    T, error = newton_plan(
        (K.T if across else K).astype(np.float64),
        *((b, a) if across else (a, b)),
        0.5 * tolerance,
        max_iterations - steps,
    )
    if error <= tolerance:
        K[:] = T.T if across else T
        u[:] = 1.0
        v[:] = 1.0
    return error


def newton_plan(
    K: np.ndarray, a: float, b: float, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, float]:
    """T (n, m) float64 = diag(u) K diag(v) with rows a and columns b, and the column error left (rows are exact).

    A Newton step that does not help is a step of Sinkhorn's iteration instead.
    """
    with np.errstate(all="ignore"):  # an error that is not finite says so
        at = _evaluate(K, np.zeros(K.shape[1]), a, b)
        for step in range(max_iterations):
            if at.error <= tolerance or not np.isfinite(at.error):
                break
            moved = _newton_step(K, at, a, b) if step >= _SINKHORN_STEPS else None
            at = moved or _evaluate(K, at.x + np.log(b / at.c), a, b)
        return at.plan(K), at.error


@dataclass(frozen=True)
class _Point:
    """F and the column error at x = log v, and the plan there by its scalings."""

    x: np.ndarray
    u: np.ndarray
    v: np.ndarray
    c: np.ndarray  # column sums
    F: float
    error: float

    def plan(self, K: np.ndarray) -> np.ndarray:
        return self.u[:, None] * K * self.v


def _evaluate(K: np.ndarray, x: np.ndarray, a: float, b: float) -> _Point:
    x = x - x.max()  # a constant changes nothing; e^x stays in range
    v = np.exp(x)
    r = K @ v
    u = a / r
    c = (u @ K) * v
    F = a * np.log(r).sum() - b * x.sum()
    return _Point(x, u, v, c, float(F), float(np.abs(c - b).sum()))


def _newton_step(K: np.ndarray, at: _Point, a: float, b: float) -> _Point | None:
    """The point that a step leads to; None where it does not help."""
    gradient = at.c - b
    direction = _direction(at.plan(K), at.c, gradient, a, b)
    slope = float(gradient @ direction)
    length = min(1.0, _LONGEST_STEP / float(np.abs(direction).max()))
    for _ in range(_HALVINGS):
        tried = _evaluate(K, at.x - length * direction, a, b)
        if tried.error < 0.9 * at.error or at.F - tried.F > 0.1 * length * slope > 0.0:
            return tried
        length *= 0.5
    return None


def _direction(T: np.ndarray, c: np.ndarray, gradient: np.ndarray, a: float, b: float) -> np.ndarray:
    """H^-1 gradient by Cholesky's factorisation."""
    H = torch.from_numpy(T.T @ T).mul_(-1.0 / a)
    H += b  # singular along (1, .., 1), hence + b, which moves no right side that sums to 0
    diagonal = H.diagonal()
    diagonal += torch.from_numpy(c)
    ridge = 1e-13 * b  # nearly singular between groups that hardly exchange mass
    for _ in range(_RIDGES):
        diagonal += ridge
        L, failed = torch.linalg.cholesky_ex(H)
        if not failed:
            break
        ridge *= 99.0  # that much more makes a hundred times as much
    step: np.ndarray = torch.cholesky_solve(torch.from_numpy(gradient).unsqueeze(1), L).squeeze(1).numpy()
    return step
