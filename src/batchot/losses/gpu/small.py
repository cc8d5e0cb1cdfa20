"""One launch, one program: the whole loss and its gradient for batches whose matrices fit one multiprocessor."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.gpu.device import MEMORY, coefficients, hinge, kernel_value
from batchot.losses.gpu.problem import Problem, Result

LARGEST = 128  # rows and columns; K and G are then 64 KiB each, the registers of half a multiprocessor


@triton.jit
def _rows(p, stride, first, rows, d, BR: tl.constexpr, BD: tl.constexpr):  # type: ignore[no-untyped-def]
    """Columns first.. of a matrix (rows, d), in float32, 0 outside of it."""
    i, k = tl.arange(0, BR), first + tl.arange(0, BD)
    inside = (i < rows)[:, None] & (k < d)[None, :]
    return tl.load(p + i[:, None].to(tl.int64) * stride + k[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _centred(x, shift, rows, BR: tl.constexpr):  # type: ignore[no-untyped-def]
    return tl.where((tl.arange(0, BR) < rows)[:, None], x - shift[None, :], 0.0)


@triton.jit
def _start(K, a, ITSELF: tl.constexpr, n, BM: tl.constexpr):  # type: ignore[no-untyped-def]
    """log of the first scaling, the same for every column: total mass 1 for a symmetric problem."""
    if ITSELF:
        x = tl.zeros([BM], tl.float64) + 0.5 * tl.log(n * a / tl.sum(tl.sum(K, 1), 0))
    else:
        x = tl.zeros([BM], tl.float64)
    return x


@triton.jit
def _image(K, x, a, b, real, ITSELF: tl.constexpr):  # type: ignore[no-untyped-def]
    """What Sinkhorn's step adds to x = log v, the marginal error at x, and u (rows exact) for two batches."""
    v = tl.exp(x).to(tl.float32)
    r = tl.sum(K * v[None, :], 1)
    if ITSELF:
        # The half step makes groups that hardly exchange mass converge at once.
        mass = v * tl.sum(K * v[:, None], 0)  # K is symmetric: these sums come in the layout of v
        step, target, u = 0.5, a, r
    else:
        u = tl.where(r > 0.0, a / r, 0.0)
        mass = v * tl.sum(K * u[:, None], 0)
        step, target = 1.0, b
    error = tl.sum(tl.where(real, tl.abs(mass - target), 0.0), 0)
    res = tl.where(real, step * tl.log(target / mass), 0.0).to(tl.float64)
    return res, error, u


@triton.jit
def _sinkhorn(K, a, b, n, m, tolerance, max_iterations, ITSELF: tl.constexpr, BM: tl.constexpr):  # type: ignore[no-untyped-def]
    """log v and the marginal error left, by Sinkhorn's iteration with Anderson's acceleration (Walker and Ni 2011)."""
    real = tl.arange(0, BM) < m
    slots = tl.arange(0, MEMORY)
    x = _start(K, a, ITSELF, n, BM)
    best_x = x
    best_g = x
    last_r = tl.zeros([BM], tl.float64)
    last_g = tl.zeros([BM], tl.float64)
    dR = tl.zeros([MEMORY, BM], tl.float64)
    dG = tl.zeros([MEMORY, BM], tl.float64)
    best = float("inf")
    step = 0
    held = 0  # steps since the memory was emptied
    while (step < max_iterations) & (best > tolerance):
        res, error, _ = _image(K, x, a, b, real, ITSELF)
        if ITSELF:
            error = 2.0 * error  # rows and columns of a symmetric plan are wrong alike
        g = x + res
        better = error < best
        best = tl.where(better, error, best)
        best_x = tl.where(better, x, best_x)
        best_g = tl.where(better, g, best_g)
        usable = error < 16.0 * best  # false for NaN too: start again from the image of the best
        now = (slots == held % MEMORY)[:, None] & (held > 0)
        dR = tl.where(usable, tl.where(now, (res - last_r)[None, :], dR), 0.0)
        dG = tl.where(usable, tl.where(now, (g - last_g)[None, :], dG), 0.0)
        A = tl.sum(dR[:, None, :] * dR[None, :, :], 2)
        c = coefficients(A, tl.sum(dR * res[None, :], 1), tl.sum(res * res, 0), MEMORY)
        x = tl.where(usable, g - tl.sum(c[:, None] * dG, 0), best_g)
        last_r = res
        last_g = g
        held = tl.where(usable, held + 1, 0)
        step += 1
    return best_x, best


@triton.jit
def small_kernel(  # type: ignore[no-untyped-def]
    x_ptr,
    y_ptr,
    lx_ptr,
    ly_ptr,
    out_ptr,  # loss, marginal error
    gx_ptr,
    gy_ptr,
    n,
    m,
    d,
    x_stride,
    y_stride,
    margin,
    pos_margin,
    gamma,
    lam,
    tolerance,
    max_iterations,
    ITSELF: tl.constexpr,
    NORMALIZE: tl.constexpr,
    UNIFORM: tl.constexpr,
    NEED_GRAD: tl.constexpr,
    BN: tl.constexpr,
    BM: tl.constexpr,
    BD: tl.constexpr,
    PRECISION: tl.constexpr,
):
    i, j = tl.arange(0, BN), tl.arange(0, BM)
    G = tl.zeros([BN, BM], tl.float32)
    x2 = tl.zeros([BN], tl.float32)
    y2 = tl.zeros([BM], tl.float32)
    for first in range(0, d, BD):
        x = _rows(x_ptr, x_stride, first, n, d, BN, BD)
        y = _rows(y_ptr, y_stride, first, m, d, BM, BD)
        if not NORMALIZE:  # changes no distance, and rounds less
            centre = tl.sum(x, 0) / n
            x, y = _centred(x, centre, n, BN), _centred(y, centre, m, BM)
        G = tl.dot(x, tl.trans(y), G, input_precision=PRECISION)
        x2 += tl.sum(x * x, 1)
        y2 += tl.sum(y * y, 1)
    rx = tl.zeros([BN], tl.float32) + 1.0
    ry = tl.zeros([BM], tl.float32) + 1.0
    if NORMALIZE:
        rx = 1.0 / tl.maximum(tl.sqrt(x2), 1e-12, propagate_nan=tl.PropagateNan.ALL)
        ry = 1.0 / tl.maximum(tl.sqrt(y2), 1e-12, propagate_nan=tl.PropagateNan.ALL)
        G = G * rx[:, None] * ry[None, :]
        x2 = x2 * rx * rx
        y2 = y2 * ry * ry
    lx = tl.load(lx_ptr + i, mask=i < n, other=0)
    ly = tl.load(ly_ptr + j, mask=j < m, other=0)
    same = lx[:, None] == ly[None, :]
    allowed = (i < n)[:, None] & (j < m)[None, :]
    if ITSELF:
        allowed = allowed & (i[:, None] != j[None, :])
    M = hinge(G, x2, y2, same, margin, pos_margin)
    a = 1.0 / n
    b = 1.0 / m
    if UNIFORM:
        pairs = n * (m - 1.0) if ITSELF else n * (m * 1.0)
        T = tl.where(allowed, 1.0 / pairs, 0.0)
        error = 0.0
    else:
        T = tl.where(allowed, kernel_value(M, gamma, lam), 0.0)
        real = j < m
        log_v, error = _sinkhorn(T, a, b, n, m, tolerance, max_iterations, ITSELF, BM)
        v = tl.where(real, tl.exp(log_v).to(tl.float32), 0.0)
        if ITSELF:
            T = T * v[:, None] * v[None, :]
        else:
            r = tl.sum(T * v[None, :], 1)
            u = tl.where(i < n, a / r, 0.0)
            T = tl.where(allowed, T * u[:, None] * v[None, :], 0.0)
    loss = 0.5 * tl.sum(tl.sum(tl.where(allowed, T * M, 0.0), 1), 0)
    tl.store(out_ptr, loss)
    tl.store(out_ptr + 1, error)
    if NEED_GRAD:
        half = tl.where(same, 0.5, -0.5)
        W = tl.where(M > 0.0, half * T, 0.0)
        rho = tl.sum(W, 1)
        kappa = tl.sum(W, 0)
        scale = 4.0 if ITSELF else 2.0
        if NORMALIZE:  # <x, dL/dx> of unit rows, which the derivative of the norm takes away
            along_x = scale * (rho * x2 - tl.sum(W * G, 1))
            along_y = scale * (kappa * y2 - tl.sum(W * G, 0))
        for first in range(0, d, BD):
            x = _rows(x_ptr, x_stride, first, n, d, BN, BD)
            y = _rows(y_ptr, y_stride, first, m, d, BM, BD)
            if not NORMALIZE:
                centre = tl.sum(x, 0) / n
                x, y = _centred(x, centre, n, BN), _centred(y, centre, m, BM)
            x, y = x * rx[:, None], y * ry[:, None]
            k = first + tl.arange(0, BD)
            gx = scale * (rho[:, None] * x - tl.dot(W, y, input_precision=PRECISION))
            if NORMALIZE:
                gx = (gx - x * along_x[:, None]) * rx[:, None]
            inside = (i < n)[:, None] & (k < d)[None, :]
            tl.store(gx_ptr + i[:, None] * d + k[None, :], gx, mask=inside)
            if not ITSELF:
                gy = scale * (kappa[:, None] * y - tl.dot(tl.trans(W), x, input_precision=PRECISION))
                if NORMALIZE:
                    gy = (gy - y * along_y[:, None]) * ry[:, None]
                inside = (j < m)[:, None] & (k < d)[None, :]
                tl.store(gy_ptr + j[:, None] * d + k[None, :], gy, mask=inside)


def blocks(n: int, m: int, d: int) -> dict[str, int]:
    """Sizes of the kernel's tiles and the number of warps for a problem."""
    bn, bm = max(16, triton.next_power_of_2(n)), max(16, triton.next_power_of_2(m))
    # 16 warps share the two 128 x 128 matrices: 64 registers a thread.
    return {"BN": bn, "BM": bm, "BD": 32 if d > 16 else 16, "num_warps": min(16, max(4, bn * bm // 1024))}


def small_loss(p: Problem) -> Result:
    """Loss, marginal error and gradients on the raw embeddings of a problem of at most LARGEST rows and columns."""
    y = p.x if p.y is None else p.y
    out = p.x.new_empty(2, dtype=torch.float32)
    gx, gy = p.new_gradients()
    options = p.options
    small_kernel[(1,)](
        p.x,
        y,
        p.lx,
        p.lx if p.ly is None else p.ly,
        out,
        gx,
        gy,
        p.n,
        p.m,
        p.d,
        p.x.stride(0),
        y.stride(0),
        options.margin,
        options.pos_margin,
        options.gamma,
        options.lam,
        options.tolerance,
        options.max_iterations,
        ITSELF=p.y is None,
        NORMALIZE=options.normalize,
        UNIFORM=options.uniform,
        NEED_GRAD=p.need_grad,
        PRECISION=options.precision,
        **blocks(p.n, p.m, p.d),
    )
    return Result(out[0], out[1], gx, gy)


__all__ = ["LARGEST", "Tensor", "small_loss"]
