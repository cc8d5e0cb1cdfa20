"""The scaling of one small transport problem: in float32, and by Newton's method in float64 where that fails.

With u eliminated (rows exact), the dual is the smooth convex function of x = log v

    F(x) = a sum_i log (K e^x)_i - b sum_j x_j,

whose gradient is c - b (the column error of the plan) and whose Hessian is diag(c) - T^T T / a. It converges where
Sinkhorn's iteration crawls: between groups of points that hardly exchange mass. Source: Brauer, Clason, Lorenz and
Wirth, A Sinkhorn-Newton method for entropic optimal transport (2017).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from batchot.losses.kernels import sinkhorn, symmetric_sinkhorn

_FLOAT32_STEPS = 100  # what has not converged by then hardly ever does
_NEWTON_SIZE = 256  # a Newton step solves a system of this size at most
_SINKHORN_STEPS = 20  # Newton's method needs to be near enough
_HALVINGS = 12  # of a Newton step that does not help
_LONGEST_STEP = 20.0  # in log v: further, e^x may underflow
_RIDGES = 8  # attempts at a positive definite Hessian


@njit(nogil=True, cache=True, error_model="numpy")
def scale(K, itself, tolerance, max_iterations, u, v):  # type: ignore[no-untyped-def]
    """u (n,) and v (m,) such that diag(u) K diag(v) has rows 1/n and columns 1/m; returns the marginal error left.

    Where float32 or the accelerated iteration fails, K becomes the plan itself, found in float64, and u and v 1.
    """
    n, m = K.shape
    a, b = 1.0 / n, 1.0 / m
    small = min(n, m) <= _NEWTON_SIZE
    steps = min(max_iterations, _FLOAT32_STEPS) if small else max_iterations
    if itself:  # both marginals of a symmetric plan are wrong where one is
        _, error = symmetric_sinkhorn(K, a, 0.5 * tolerance, steps, u)
        error *= 2.0
        v[:] = u
    else:
        _, error = sinkhorn(K, a, b, tolerance, steps, u, v)
    if error <= tolerance or not small:
        return error
    # Half the tolerance is kept for the rounding of T to float32.
    if m <= n:
        T = np.empty((n, m))
        error = newton_plan(K.astype(np.float64), a, b, 0.5 * tolerance, max_iterations - steps, T)
    else:
        S = np.empty((m, n))
        error = newton_plan(
            np.ascontiguousarray(K.T).astype(np.float64), b, a, 0.5 * tolerance, max_iterations - steps, S
        )
        T = np.ascontiguousarray(S.T)
    if error <= tolerance:
        K[:] = T
        u[:] = np.float32(1.0)
        v[:] = np.float32(1.0)
    return error


@njit(nogil=True, cache=True, error_model="numpy")
def newton_plan(K, a, b, tolerance, max_iterations, T):  # type: ignore[no-untyped-def]
    """T (n, m) float64 = diag(u) K diag(v) with rows a and columns b; returns the column error left (rows are exact).

    A Newton step that does not help is a step of Sinkhorn's iteration instead.
    """
    m = K.shape[1]
    x = np.zeros(m)
    c = np.empty(m)
    tried = np.empty(m)
    F, error = _evaluate(K, x, a, b, T, c)
    for step in range(max_iterations):
        if error <= tolerance or not np.isfinite(error):
            break
        moved = False
        if step >= _SINKHORN_STEPS:
            direction = _direction(T, c, a, b)
            slope = np.dot(c - b, direction)
            length = min(1.0, _LONGEST_STEP / np.abs(direction).max())
            for _ in range(_HALVINGS):
                for j in range(m):
                    tried[j] = x[j] - length * direction[j]
                new_F, new_error = _evaluate(K, tried, a, b, T, c)
                if new_error < 0.9 * error or F - new_F > 0.1 * length * slope > 0.0:
                    moved = True
                    break
                length *= 0.5
            if not moved:
                _evaluate(K, x, a, b, T, c)
        if not moved:
            for j in range(m):
                tried[j] = x[j] + np.log(b / c[j])
            new_F, new_error = _evaluate(K, tried, a, b, T, c)
        x[:] = tried - tried.max()  # a constant changes nothing; e^x stays in range
        F, error = new_F, new_error
    return error


@njit(nogil=True, cache=True, error_model="numpy")
def _evaluate(K, x, a, b, T, c):  # type: ignore[no-untyped-def]
    """F(x) and the column error; T becomes the plan with exact rows, c its column sums."""
    n, m = K.shape
    top = x.max()
    v = np.exp(x - top)
    F = 0.0
    c[:] = 0.0
    for i in range(n):
        r = 0.0
        for j in range(m):
            T[i, j] = K[i, j] * v[j]
            r += T[i, j]
        F += a * (np.log(r) + top)
        u = a / r
        for j in range(m):
            T[i, j] *= u
            c[j] += T[i, j]
    error = 0.0
    for j in range(m):
        F -= b * x[j]
        error += abs(c[j] - b)
    return F, error


@njit(nogil=True, cache=True, error_model="numpy")
def _direction(T, c, a, b):  # type: ignore[no-untyped-def]
    """H^-1 (c - b) by Cholesky's factorisation."""
    n, m = T.shape
    H = np.full((m, m), b)  # singular along (1, .., 1), hence + b, which moves no right side that sums to 0
    for i in range(n):
        for j in range(m):
            t = T[i, j] / a
            for k in range(j + 1):
                H[j, k] -= t * T[i, k]
    for j in range(m):
        H[j, j] += c[j]
    L = np.empty((m, m))
    ridge = 1e-13 * b  # nearly singular between groups that hardly exchange mass
    for _ in range(_RIDGES):
        if _factorise(H, ridge, L):
            break
        ridge *= 100.0
    y = c - b
    for j in range(m):
        for k in range(j):
            y[j] -= L[j, k] * y[k]
        y[j] /= L[j, j]
    for j in range(m - 1, -1, -1):
        for k in range(j + 1, m):
            y[j] -= L[k, j] * y[k]
        y[j] /= L[j, j]
    return y


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")
def _factorise(H, ridge, L):  # type: ignore[no-untyped-def]
    """L of H + ridge I = L L^T from the lower half of H; False where it is not positive definite."""
    m = H.shape[0]
    for j in range(m):
        for k in range(j + 1):
            s = H[j, k]
            p, q = L[j, :k], L[k, :k]
            for i in range(k):
                s -= p[i] * q[i]
            if j > k:
                L[j, k] = s / L[k, k]
            elif s + ridge > 0.0:
                L[j, j] = np.sqrt(s + ridge)
            else:
                return False
    return True
