"""Device functions that the kernels share: tiles of X Y^T, M, K, and the coefficients of Anderson's acceleration."""

from __future__ import annotations

import triton
import triton.language as tl

MEMORY = tl.constexpr(4)  # past differences that Anderson's acceleration combines; a power of two


@triton.jit
def load_rows(p, i, k, rows, d):  # type: ignore[no-untyped-def]
    """The entries (i, k) of a contiguous matrix (rows, d), 0 outside of it."""
    inside = (i < rows)[:, None] & (k < d)[None, :]
    return tl.load(p + i[:, None].to(tl.int64) * d + k[None, :], mask=inside, other=0.0)


@triton.jit
def product(x_ptr, y_ptr, i, j, n, m, d, CHUNKS: tl.constexpr, BD: tl.constexpr, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """<x_i, y_j>, a tile of G = X Y^T."""
    G = tl.zeros([i.shape[0], j.shape[0]], tl.float32)
    for chunk in range(0, CHUNKS):
        k = chunk * BD + tl.arange(0, BD)
        x = load_rows(x_ptr, i, k, n, d)
        y = load_rows(y_ptr, j, k, m, d)
        G = tl.dot(x, tl.trans(y), G, input_precision=PRECISION)
    return G


@triton.jit
def hinge(G, x2, y2, same, margin, pos_margin):  # type: ignore[no-untyped-def]
    """M_ij = (d2_ij - pos_margin)_+ of a positive pair, (margin - d2_ij)_+ of a negative one; NaN stays NaN."""
    d2 = tl.maximum(x2[:, None] + y2[None, :] - 2.0 * G, 0.0, propagate_nan=tl.PropagateNan.ALL)
    M = tl.where(same, d2 - pos_margin, margin - d2)
    return tl.maximum(M, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def kernel_value(M, gamma, lam):  # type: ignore[no-untyped-def]
    """K_ij = exp(-lam exp(-gamma M_ij))."""
    return tl.exp(-lam * tl.exp(-gamma * M))


@triton.jit
def allowed_pairs(i, j, n, m, ITSELF: tl.constexpr):  # type: ignore[no-untyped-def]
    """Pairs inside the matrix, without the diagonal of a batch against itself."""
    allowed = (i < n)[:, None] & (j < m)[None, :]
    if ITSELF:
        allowed = allowed & (i[:, None] != j[None, :])
    return allowed


@triton.jit
def kernel_tile(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, i, j, n, m, d, margin, pos_margin, gamma, lam,
    ITSELF: tl.constexpr, CHUNKS: tl.constexpr, BD: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """K of the pairs (i, j), 0 for those that carry no mass."""
    G = product(x_ptr, y_ptr, i, j, n, m, d, CHUNKS, BD, PRECISION)
    x2 = tl.load(x2_ptr + i, mask=i < n, other=0.0)
    y2 = tl.load(y2_ptr + j, mask=j < m, other=0.0)
    lx = tl.load(lx_ptr + i, mask=i < n, other=0)
    ly = tl.load(ly_ptr + j, mask=j < m, other=0)
    M = hinge(G, x2, y2, lx[:, None] == ly[None, :], margin, pos_margin)
    return tl.where(allowed_pairs(i, j, n, m, ITSELF), kernel_value(M, gamma, lam), 0.0)


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
    return tl.where(tl.sum(tl.abs(c), 0) < 1e4, c, 0.0)  # a NaN compares false
