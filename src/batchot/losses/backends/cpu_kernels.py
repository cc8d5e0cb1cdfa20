"""Compiled loops of the loss on CPUs."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from batchot.compiling import njit

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # ln 2 in two parts: n * high is exact, low corrects it
_LN2_LOW = np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87.0)  # exp of anything below is 0 in float32
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_ZERO = np.float32(0.0)
# Minimax polynomial of exp on [-ln2/2, ln2/2] (Cephes, expf), relative error 1e-7.
_P0 = np.float32(1.9875691500e-4)
_P1 = np.float32(1.3981999507e-3)
_P2 = np.float32(8.3334519073e-3)
_P3 = np.float32(4.1665795894e-2)
_P4 = np.float32(1.6666665459e-1)
_P5 = np.float32(5.0000001201e-1)

_FAST = {"reassoc", "contract", "nsz"}  # lets sums and products be vectorised; NaN and Inf keep their meaning
_CHUNK = 256  # columns summed in float32 before the sum goes to float64
_FLUSH = 32  # rows whose column sums are gathered in float32 before they go to float64
_MEMORY = 6  # past iterates that Anderson's acceleration combines
_X, _R = 2 * _MEMORY, 2 * _MEMORY + 1  # behind them: the unknowns, and the sums of rows or columns
NO_DIAGONAL = -(1 << 40)  # for rows and columns that are different samples


@intrinsic
def _float_from_bits(typingctx, bits):  # type: ignore[no-untyped-def]
    """The float32 whose bits are those of an int32."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", fastmath=_FAST)
def _exp(x):  # type: ignore[no-untyped-def]
    """exp(x) in float32 for x <= 0, written so that the compiler vectorises it (a call of libm is not)."""
    x = max(x, _LOWEST)
    n = np.float32(np.floor(x * _LOG2E + _HALF))
    f = x - n * _LN2_HIGH - n * _LN2_LOW
    p = _P0
    p = p * f + _P1
    p = p * f + _P2
    p = p * f + _P3
    p = p * f + _P4
    p = p * f + _P5
    p = p * (f * f) + f + _ONE
    return p * _float_from_bits(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


@njit(inline="always", fastmath=_FAST)
def _misplaced(g, xi, yj, same, margin, pos_margin):  # type: ignore[no-untyped-def]
    """M of a pair, of which g is the product and xi and yj are the squared lengths."""
    d2 = max(xi + yj - _TWO * g, _ZERO)
    return max(d2 - pos_margin if same else margin - d2, _ZERO)


@njit(inline="always", fastmath=_FAST)
def _kernel(g, xi, y2, li, ly, margin, pos_margin, gamma, lam, k):  # type: ignore[no-untyped-def]
    """K of one row and a slice of columns. Loops over slices from 0 are the ones that vectorise."""
    for j in range(g.shape[0]):
        M = _misplaced(g[j], xi, y2[j], li == ly[j], margin, pos_margin)
        k[j] = _exp(-lam * _exp(-gamma * M))


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, _nrt=False, fastmath=_FAST, error_model="numpy")
def kernel_rows(G, x2, y2, lx, ly, margin, pos_margin, gamma, lam, diagonal, first, last, K):  # type: ignore[no-untyped-def]
    """K_ij = exp(-lam exp(-gamma M_ij)) for rows first..last; G = X Y^T, x2 and y2 squared norms. 0 where row and
    column are the same sample: at j = i + diagonal (NO_DIAGONAL: nowhere)."""
    for i in range(first, last):
        _kernel(G[i], x2[i], y2, lx[i], ly, margin, pos_margin, gamma, lam, K[i])
        if 0 <= i + diagonal < G.shape[1]:
            K[i, i + diagonal] = _ZERO


@njit(inline="always", fastmath=_FAST)
def _dot(a, b):  # type: ignore[no-untyped-def]
    """Sum of products of two slices, in float32."""
    s = _ZERO
    for j in range(a.shape[0]):
        s += a[j] * b[j]
    return s


@njit(inline="always", fastmath=_FAST)
def _weigh(G, xi, y2, li, ly, margin, pos_margin, ui, v, uniform, K):  # type: ignore[no-untyped-def]
    """Loss and sum of the weights of a slice of one row; K becomes the weights."""
    loss, weight = _ZERO, _ZERO
    for j in range(G.shape[0]):
        same = li == ly[j]
        M = _misplaced(G[j], xi, y2[j], same, margin, pos_margin)
        t = ui * v[j] if uniform else ui * K[j] * v[j]
        w = (t if same else -t) if M > _ZERO else _ZERO
        loss += t * M
        weight += w
        K[j] = w
    return loss, weight


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, _nrt=False, fastmath=_FAST, error_model="numpy")
def weight_rows(G, x2, y2, lx, ly, margin, pos_margin, u, v, diagonal, uniform, first, last, K, rho, kappa):  # type: ignore[no-untyped-def]
    """Loss of rows first..last; K becomes w_ij = T_ij / 2 * dM_ij/d(d2_ij), rho its row sums, kappa its column sums."""
    m = G.shape[1]
    loss = 0.0
    for i in range(first, last):
        xi, li, ui = x2[i], lx[i], u[i] * _HALF
        row_sum = 0.0
        for start in range(0, m, _CHUNK):
            stop = min(start + _CHUNK, m)
            part, weight = _weigh(
                G[i, start:stop], xi, y2[start:stop], li, ly[start:stop], margin, pos_margin, ui, v[start:stop],
                uniform, K[i, start:stop],
            )  # fmt: skip
            loss += part
            row_sum += weight
        own = i + diagonal
        # a sample beside itself carries no mass: K is 0 there already, the uniform plan is not
        if 0 <= own < m:
            row_sum -= K[i, own]
            if uniform and pos_margin == _ZERO:
                loss -= K[i, own] * _misplaced(G[i, own], xi, y2[own], True, margin, pos_margin)
            K[i, own] = _ZERO
        rho[i] = row_sum
        for j in range(kappa.shape[0]):
            kappa[j] += K[i, j]
    return loss


@njit(inline="always", fastmath=_FAST)
def _row_sum(row, v):  # type: ignore[no-untyped-def]
    """sum_j row_j v_j: chunks in float32, their sum in float64."""
    total = 0.0
    for start in range(0, row.shape[0], _CHUNK):
        stop = min(start + _CHUNK, row.shape[0])
        total += _dot(row[start:stop], v[start:stop])
    return total


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, _nrt=False, fastmath=_FAST, error_model="numpy")
def matvec_rows(K, v, first, last, r):  # type: ignore[no-untyped-def]
    """r_i = sum_j K_ij v_j for rows first..last."""
    for i in range(first, last):
        r[i] = _row_sum(K[i], v)


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, _nrt=False, fastmath=_FAST, error_model="numpy")
def half_step_rows(K, v, a, first, last, u, r, c, part):  # type: ignore[no-untyped-def]
    """One pass over rows first..last: r = K v, u = a / r, c += K^T u."""
    m = K.shape[1]
    for j in range(m):
        part[j] = _ZERO
    for i in range(first, last):
        total = _row_sum(K[i], v)
        r[i] = total
        ui = np.float32(a / total)
        u[i] = ui
        row = K[i]
        for j in range(m):
            part[j] += ui * row[j]
        if (i - first) % _FLUSH == _FLUSH - 1 or i == last - 1:
            for j in range(m):
                c[j] += part[j]
                part[j] = _ZERO


@njit(inline="always", fastmath=_FAST)
def _add(s, k, out):  # type: ignore[no-untyped-def]
    for j in range(k.shape[0]):
        out[j] += s * k[j]


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def kernel_sums(G, x2, y2, lx, ly, margin, pos_margin, gamma, lam, diagonal, u, v, first, last, r, c):  # type: ignore[no-untyped-def]
    """r_i += sum_j K_ij v_j and c_j += sum_i u_i K_ij for rows first..last, without keeping K."""
    m = G.shape[1]
    k = np.empty(_CHUNK, np.float32)
    part = np.zeros(c.shape[0], np.float32)
    for i in range(first, last):
        total = 0.0
        for start in range(0, m, _CHUNK):
            stop = min(start + _CHUNK, m)
            chunk = k[: stop - start]
            _kernel(
                G[i, start:stop], x2[i], y2[start:stop], lx[i], ly[start:stop], margin, pos_margin, gamma, lam, chunk
            )  # fmt: skip
            if start <= i + diagonal < stop:
                chunk[i + diagonal - start] = _ZERO
            total += _dot(chunk, v[start:stop])
            if c.shape[0] > 0:
                _add(u[i], chunk, part[start:stop])
        r[i] += total
        if c.shape[0] > 0 and ((i - first) % _FLUSH == _FLUSH - 1 or i == last - 1):
            for j in range(m):
                c[j] += part[j]
                part[j] = _ZERO


@njit(inline="always", error_model="numpy")
def accelerate(x, g, step, P, A):  # type: ignore[no-untyped-def]
    """Anderson's acceleration of x <- g(x) in place of x."""
    n = x.shape[0]
    slot = step % _MEMORY
    k = step + 1 if step < _MEMORY else _MEMORY
    for i in range(n):
        P[slot, i] = g[i]
        P[_MEMORY + slot, i] = g[i] - x[i]
    trace = 0.0
    for p in range(k):
        for q in range(p + 1):
            s = 0.0
            for i in range(n):
                s += P[_MEMORY + p, i] * P[_MEMORY + q, i]
            A[p, q] = s
            A[q, p] = s
        trace += A[p, p]
        A[p, k] = 1.0
    newest = A[slot, slot]
    for p in range(k):
        # Without it the coefficients explode where residuals are parallel; relative to the newest residual, so that
        # it does not slow the end.
        A[p, p] += 1e-10 * newest + 1e-14 * trace
    for p in range(k):  # A is positive definite: elimination without pivots
        for q in range(p + 1, k):
            f = A[q, p] / A[p, p]
            for s in range(p, k + 1):
                A[q, s] -= f * A[p, s]
    for p in range(k - 1, -1, -1):
        for q in range(p + 1, k):
            A[p, k] -= A[p, q] * A[q, k]
        A[p, k] /= A[p, p]
    total, size = 0.0, 0.0
    for p in range(k):
        total += A[p, k]
        size += abs(A[p, k])
    usable = k > 1 and trace != 0.0 and np.isfinite(size) and total > 1e-4 * size
    for i in range(n):
        s = 0.0
        for p in range(k):
            s += A[p, k] * P[p, i]
        x[i] = s / total if usable else g[i]


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, _nrt=False, error_model="numpy")
def symmetric_sinkhorn(K, x, r, a, tolerance, step, stop, u, P, A):  # type: ignore[no-untyped-def]
    """Steps (-1: a first guess) that scale a symmetric K on both sides by u = exp(x) so that all rows sum to a; returns
    the row error before the last one. A K without rows takes one step from r = K u."""
    n = x.shape[0]
    error = np.inf
    for at in range(step, stop):
        if K.shape[0] > 0:
            matvec_rows(K, u, 0, n, r)
        if at < 0:
            total = 0.0
            for i in range(n):
                total += r[i]
            start = 0.5 * np.log(n * a / total)
            for i in range(n):
                x[i] = start
                u[i] = np.float32(np.exp(start))
            continue
        error = 0.0
        for i in range(n):
            mass = np.float64(u[i]) * r[i]
            error += abs(mass - a)
            r[i] = x[i] + 0.5 * np.log(a / mass)
        if error <= tolerance or not np.isfinite(error):
            break
        accelerate(x, r, at, P, A)
        for i in range(n):
            u[i] = np.exp(x[i])
    return error


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, _nrt=False, error_model="numpy")
def column_step(x, c, v, b, tolerance, step, P, A):  # type: ignore[no-untyped-def]
    """From c = K^T u to the next v = exp(x); returns the column error of diag(u) K diag(v) before the step."""
    m = x.shape[0]
    error = 0.0
    for j in range(m):
        error += abs(np.float64(v[j]) * c[j] - b)
        c[j] = np.log(b / c[j])
    if error <= tolerance or not np.isfinite(error):
        return error
    accelerate(x, c, step, P, A)
    for j in range(m):
        v[j] = np.exp(x[j])
    return error


@njit(nogil=True, cache=True, no_cfunc_wrapper=True, _nrt=False, error_model="numpy")
def sinkhorn(K, a, b, tolerance, max_iterations, u, v, r, part, W, A):  # type: ignore[no-untyped-def]
    """Scale K by u and v so that rows sum to a and columns to b; returns the column error left (rows are exact).

    r, part: room for K v, float64 (n,), and of half_step_rows. W, A: see room.
    """
    n, m = K.shape
    x, c = W[_X], W[_R]
    for j in range(m):
        x[j] = 0.0
        v[j] = _ONE
    error = np.inf
    for step in range(max_iterations):
        for j in range(m):
            c[j] = 0.0
        half_step_rows(K, v, a, 0, n, u, r, c, part)
        error = column_step(x, c, v, b, tolerance, step, W, A)
        if error <= tolerance or not np.isfinite(error):
            break
    return error


def room(n: int) -> tuple[np.ndarray, np.ndarray]:
    """What an iteration on n unknowns writes into, see accelerate; made outside, as numba is slow to compile it."""
    return np.empty((_R + 1, n)), np.empty((_MEMORY, _MEMORY + 1))


@njit(nogil=True, cache=True, error_model="numpy")
def laplacian(W, blocks, scales):  # type: ignore[no-untyped-def]
    """L = diag(S 1) - S, (N, N), of S = A + A^T, where A is W with the block of each problem times its scale."""
    N = W.shape[0]
    L = np.zeros((N, N), np.float32)
    degree = np.zeros(N)
    for p in range(blocks.shape[0]):
        scale = scales[p]
        for i in range(blocks[p, 0], blocks[p, 1]):
            for j in range(blocks[p, 2], blocks[p, 3]):
                s = scale * W[i, j]
                L[i, j] -= s
                L[j, i] -= s
                degree[i] += s
                degree[j] += s
    for i in range(N):
        L[i, i] += np.float32(degree[i])
    return L
