"""All of Sinkhorn's iteration in one launch of one program, for matrices that fit a multiprocessor's registers."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.gpu.device import MEMORY, coefficients, kernel_tile
from batchot.losses.gpu.prepare import Prepared
from batchot.losses.gpu.problem import Options

LARGEST = 128  # rows and columns: K is then 64 KiB, a quarter of the registers of a multiprocessor


@triton.jit
def _image(K, x, a, b, real, ITSELF: tl.constexpr):  # type: ignore[no-untyped-def]
    """What Sinkhorn's step adds to x = log v, and the marginal error at x (rows are exact for two batches)."""
    v = tl.exp(x).to(tl.float32)
    if ITSELF:
        # K is symmetric. The half step makes groups that hardly exchange mass converge at once.
        mass = v * tl.sum(K * v[:, None], 0)
    else:
        r = tl.sum(K * v[None, :], 1)
        u = tl.where(r > 0.0, a / r, 0.0)
        mass = v * tl.sum(K * u[:, None], 0)
    error = tl.sum(tl.where(real, tl.abs(mass - b), 0.0), 0)
    res = tl.where(real, tl.log(b / mass), 0.0)
    if ITSELF:  # rows and columns are wrong alike
        error = 2.0 * error
        res = 0.5 * res
    return res, error


@triton.jit
def sinkhorn(K, a, b, m, tolerance, max_iterations, ITSELF: tl.constexpr, BM: tl.constexpr):  # type: ignore[no-untyped-def]
    """log v and the marginal error left, by the iteration of `iterate.step_of_v`."""
    real = tl.arange(0, BM) < m
    slots = tl.arange(0, MEMORY)
    x = tl.zeros([BM], tl.float64)
    best_x = x
    best_g = x
    last_g = x
    last_r = tl.zeros([BM], tl.float32)
    dR = tl.zeros([MEMORY, BM], tl.float32)
    dG = tl.zeros([MEMORY, BM], tl.float32)
    best = float("inf")
    go_on = max_iterations > 0
    step = 0
    held = 0
    while go_on:
        res, error = _image(K, x, a, b, real, ITSELF)
        g = x + res
        better = error < best
        best = tl.where(better, error, best)
        best_x = tl.where(better, x, best_x)
        best_g = tl.where(better, g, best_g)
        usable = error < 16.0 * best  # false for NaN too
        now = (slots == tl.where(held > 1, (held + MEMORY - 2) % MEMORY, -1))[:, None]
        older = (slots < held - 2)[:, None]
        dR = tl.where(now, (res - last_r)[None, :], tl.where(older, dR, 0.0))
        dG = tl.where(now, (g - last_g).to(tl.float32)[None, :], tl.where(older, dG, 0.0))
        dR64 = dR.to(tl.float64)
        A = tl.sum(dR64[:, None, :] * dR64[None, :, :], 2)
        c = coefficients(A, tl.sum(dR64 * res[None, :], 1), tl.sum((res * res).to(tl.float64), 0), MEMORY)
        x = tl.where(usable, g - tl.sum(c[:, None] * dG, 0), best_g)
        last_r = res
        last_g = g
        held = tl.where(usable, held + 1, 1)
        step += 1
        go_on = (step < max_iterations) & (best > tolerance) & (best < float("inf"))
    return best_x, best


@triton.jit
def small_kernel(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, u_ptr, v_ptr, error_ptr, n, m, d,
    margin, pos_margin, gamma, lam, tolerance, max_iterations,
    ITSELF: tl.constexpr, CHUNKS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The scalings u (n,) and v (m,) of the plan and its marginal error."""
    i, j = tl.arange(0, BM), tl.arange(0, BN)
    K = kernel_tile(
        x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, i, j, n, m, d, margin, pos_margin, gamma, lam,
        ITSELF, CHUNKS, BD, PRECISION,
    )  # fmt: skip
    log_v, error = sinkhorn(K, 1.0 / n, 1.0 / m, m, tolerance, max_iterations, ITSELF, BN)
    v = tl.where(j < m, tl.exp(log_v).to(tl.float32), 0.0)
    tl.store(v_ptr + j, v, mask=j < m)
    if not ITSELF:
        tl.store(u_ptr + i, (1.0 / n) / tl.sum(K * v[None, :], 1), mask=i < n)
    tl.store(error_ptr, error)


def shape(n: int, m: int, d: int) -> dict[str, int]:
    """The kernel's tile and its number of warps: at most 32 registers a thread hold K."""
    bm, bn = max(16, triton.next_power_of_2(n)), max(16, triton.next_power_of_2(m))
    bd = 32 if d > 16 else 16
    return {"BM": bm, "BN": bn, "BD": bd, "CHUNKS": triton.cdiv(d, bd), "num_warps": min(16, max(4, bm * bn // 512))}


def scale_small(x: Prepared, y: Prepared, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """The scalings u (n,) and v (m,) and the marginal error left, () on the device."""
    (n, d), m = x.x.shape, len(y.x)
    v, u = torch.empty(m + n, dtype=torch.float32, device=x.x.device).split([m, n])
    error = torch.empty((), dtype=torch.float32, device=x.x.device)
    small_kernel[(1,)](
        x.x, y.x, x.squared, y.squared, x.labels, y.labels, u, v, error, n, m, d,
        options.margin, options.pos_margin, options.gamma, options.lam, options.tolerance, options.max_iterations,
        ITSELF=x is y, PRECISION=options.precision, **shape(n, m, d),
    )  # fmt: skip
    return v if x is y else u, v, error
