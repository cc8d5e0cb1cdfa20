"""All of Sinkhorn's iteration in one launch of one program, for matrices that fit a multiprocessor's registers."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.backends.triton.device import MEMORY, coefficients, load_rows
from batchot.losses.backends.triton.problem import Options, Scalings, Tiles

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
    K_ptr, u_ptr, v_ptr, error_ptr, n, m, tolerance, max_iterations,
    ITSELF: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The scalings u (n,) and v (m,) of K (n, m) and the marginal error left."""
    i, j = tl.arange(0, BM), tl.arange(0, BN)
    K = load_rows(K_ptr, i, j, n, m)
    log_v, error = sinkhorn(K, 1.0 / n, 1.0 / m, m, tolerance, max_iterations, ITSELF, BN)
    v = tl.where(j < m, tl.exp(log_v).to(tl.float32), 0.0)
    tl.store(v_ptr + j, v, mask=j < m)
    if not ITSELF:
        tl.store(u_ptr + i, (1.0 / n) / tl.sum(K * v[None, :], 1), mask=i < n)
    tl.store(error_ptr, error)


def shape(n: int, m: int) -> dict[str, int]:
    """The kernel's tile and its number of warps: at most 32 registers a thread hold K."""
    bm, bn = max(16, triton.next_power_of_2(n)), max(16, triton.next_power_of_2(m))
    return {"BM": bm, "BN": bn, "num_warps": min(16, max(4, bm * bn // 512))}


def scale_small(K: Tensor, itself: bool, options: Options, _: Tiles) -> Scalings:
    """The scalings u (n,) and v (m,) of K (n, m), by one launch."""
    n, m = K.shape
    v, u = torch.empty(m + n, dtype=torch.float32, device=K.device).split([m, n])
    error = torch.empty((), dtype=torch.float32, device=K.device)
    small_kernel[(1,)](
        K, u, v, error, n, m, options.tolerance, options.max_iterations, ITSELF=itself, **shape(n, m)
    )
    return Scalings(v if itself else u, v, error)
