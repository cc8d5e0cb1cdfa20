"""Device functions that the kernels share: from G = X Y^T to the kernel value, to the weights, and Anderson's step."""

from __future__ import annotations

import triton
import triton.language as tl

MEMORY = tl.constexpr(4)  # past differences that Anderson's acceleration combines; a power of two


@triton.jit
def hinge(G, x2, y2, same, margin, pos_margin):  # type: ignore[no-untyped-def]
    """M_ij = (d2_ij - pos_margin)_+ of a positive pair, (margin - d2_ij)_+ of a negative one."""
    d2 = tl.maximum(x2[:, None] + y2[None, :] - 2.0 * G, 0.0, propagate_nan=tl.PropagateNan.ALL)
    M = tl.where(same, d2 - pos_margin, margin - d2)
    return tl.maximum(M, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def kernel_value(M, gamma, lam):  # type: ignore[no-untyped-def]
    """K_ij = exp(-lam exp(-gamma M_ij))."""
    return tl.exp(-lam * tl.exp(-gamma * M))


@triton.jit
def solve(A, b, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    """c with A c = b, A positive definite (SIZE, SIZE): Gauss and Jordan's elimination without pivots."""
    row = tl.arange(0, SIZE)
    for p in tl.static_range(SIZE):
        pivot_row = tl.sum(tl.where(row[:, None] == p, A, 0.0), 0)
        pivot_column = tl.sum(tl.where(row[None, :] == p, A, 0.0), 1)
        pivot = tl.sum(tl.where(row == p, pivot_column, 0.0), 0)
        b_p = tl.sum(tl.where(row == p, b, 0.0), 0)
        factor = tl.where(row == p, 0.0, pivot_column / pivot)
        A = A - factor[:, None] * pivot_row[None, :]
        b = b - factor * b_p
    return b / tl.sum(tl.where(row[:, None] == row[None, :], A, 0.0), 1)


@triton.jit
def coefficients(A, b, newest, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    """c that minimises ||r - sum_k c_k dR_k||, A = dR dR^T, b = dR r, newest = ||r||^2; 0 where it explodes."""
    row = tl.arange(0, SIZE)
    diagonal = tl.sum(tl.where(row[:, None] == row[None, :], A, 0.0), 1)
    # Without a ridge the coefficients explode where differences are parallel. An empty slot is a row of zeros.
    ridge = 1e-12 * tl.sum(diagonal, 0) + 1e-10 * newest
    ridge = tl.where(diagonal > 0.0, ridge, 1.0)
    c = solve(A + tl.where(row[:, None] == row[None, :], ridge[:, None], 0.0), b, SIZE)
    size = tl.sum(tl.abs(c), 0)
    return tl.where(size < 1e4, c, 0.0)  # a NaN compares false
