"""Sinkhorn's iteration in passes over K, which is read from memory or computed again tile by tile.

The program that finishes a pass last updates the scalings, so that a pass and its step are one launch, and says on the
device when the marginals are right: what is launched later returns at once, and the host is never asked.
"""

from __future__ import annotations

import triton
import triton.language as tl

from batchot.losses.backends.triton.device import MEMORY, coefficients, kernel_tile

# Places in the integer state, and rows of the vector state (4, m).
COUNTER, DONE, HELD, STEP = (tl.constexpr(i) for i in range(4))
_X, _BEST_X, _BEST_G, _LAST_G = (tl.constexpr(i) for i in range(4))

ROWS = tl.constexpr(0)  # u = a / (K v)
SYMMETRIC = tl.constexpr(1)  # K v, then a step of v, for a batch against itself
COLUMNS = tl.constexpr(2)  # K^T u, then a step of v


@triton.jit
def step_of_v(  # type: ignore[no-untyped-def]
    sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
    n, m, tolerance, is_last, MODE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the sums K^T u to the next x = log v by Anderson's acceleration (Walker and Ni 2011); one program's work."""
    slots = tl.arange(0, MEMORY)
    residual_ptr = differences_ptr
    dR_ptr = differences_ptr + m
    dG_ptr = dR_ptr + MEMORY * m
    target = 1.0 / m
    held = tl.load(state_ptr + HELD)
    now = slots == tl.where(held > 1, (held + MEMORY - 2) % MEMORY, -1)  # where the newest difference goes
    step = tl.load(state_ptr + STEP)
    best = tl.where(step == 0, float("inf"), tl.load(error_ptr))
    error = 0.0
    newest = tl.zeros([1], tl.float64)
    A = tl.zeros([MEMORY, MEMORY], tl.float64)
    b = tl.zeros([MEMORY], tl.float64)
    for first in range(0, m, BLOCK):
        j = first + tl.arange(0, BLOCK)
        real = j < m
        sums = tl.load(sums_ptr + j, mask=real, other=1.0, cache_modifier=".cg")
        mass = tl.load(v_ptr + j, mask=real, other=1.0, cache_modifier=".cg") * sums
        error += tl.sum(tl.where(real, tl.abs(mass - target), 0.0), 0)
        res = tl.where(real, tl.log(target / mass), 0.0)
        if MODE == SYMMETRIC:
            res = 0.5 * res
        g = tl.load(vectors_ptr + _X * m + j, mask=real, other=0.0, cache_modifier=".cg") + res
        last_r = tl.load(residual_ptr + j, mask=real, other=0.0, cache_modifier=".cg")
        last_g = tl.load(vectors_ptr + _LAST_G * m + j, mask=real, other=0.0, cache_modifier=".cg")
        tl.store(residual_ptr + j, res, mask=real)
        tl.store(vectors_ptr + _LAST_G * m + j, g, mask=real)
        place = slots[:, None] * m + j[None, :]
        older = (slots < held - 2)[:, None] & real[None, :]
        newer = now[:, None] & real[None, :]
        dR = tl.load(dR_ptr + place, mask=older, other=0.0, cache_modifier=".cg")
        dR = tl.where(newer, (res - last_r)[None, :], dR)
        tl.store(dR_ptr + place, dR, mask=newer)
        dG = tl.zeros([MEMORY, BLOCK], tl.float32) + (g - last_g).to(tl.float32)[None, :]
        tl.store(dG_ptr + place, dG, mask=newer)
        dR64 = dR.to(tl.float64)
        A += tl.sum(dR64[:, None, :] * dR64[None, :, :], 2)
        b += tl.sum(dR64 * res[None, :], 1)
        newest += tl.sum((res * res).to(tl.float64), 0)
    if MODE == SYMMETRIC:
        error = 2.0 * error  # rows and columns are wrong alike
    better = error < best
    best = tl.where(better, error, best)
    usable = error < 16.0 * best  # false for NaN too
    c = coefficients(A, b, newest, MEMORY)
    stop = (best <= tolerance) | (is_last != 0) | (best == float("inf"))
    tl.debug_barrier()  # what one thread stored above, another loads below
    for first in range(0, m, BLOCK):
        j = first + tl.arange(0, BLOCK)
        real = j < m
        x = tl.load(vectors_ptr + _X * m + j, mask=real, other=0.0, cache_modifier=".cg")
        g = tl.load(vectors_ptr + _LAST_G * m + j, mask=real, other=0.0, cache_modifier=".cg")
        best_x = tl.load(vectors_ptr + _BEST_X * m + j, mask=real, other=0.0, cache_modifier=".cg")
        best_g = tl.load(vectors_ptr + _BEST_G * m + j, mask=real, other=0.0, cache_modifier=".cg")
        best_x = tl.where(better, x, best_x)
        best_g = tl.where(better, g, best_g)
        filled = (slots < held - 1)[:, None] & real[None, :]
        dG = tl.load(dG_ptr + slots[:, None] * m + j[None, :], mask=filled, other=0.0, cache_modifier=".cg")
        x = tl.where(usable, g - tl.sum(c[:, None] * dG, 0), best_g)
        x = tl.where(stop, best_x, x)
        tl.store(vectors_ptr + _X * m + j, x, mask=real)
        tl.store(vectors_ptr + _BEST_X * m + j, best_x, mask=real)
        tl.store(vectors_ptr + _BEST_G * m + j, best_g, mask=real)
        tl.store(v_ptr + j, tl.exp(x).to(tl.float32), mask=real)
    if MODE == COLUMNS:
        for first in range(0, n, BLOCK):
            i = first + tl.arange(0, BLOCK)
            u = tl.load(u_ptr + i, mask=i < n, other=0.0, cache_modifier=".cg")
            best_u = tl.load(best_u_ptr + i, mask=i < n, other=0.0, cache_modifier=".cg")
            tl.store(best_u_ptr + i, tl.where(better, u, best_u), mask=i < n)
    tl.store(error_ptr, best)
    tl.store(state_ptr + HELD, tl.where(usable, held + 1, 1))
    tl.store(state_ptr + STEP, step + 1)
    tl.store(state_ptr + DONE, stop.to(tl.int32))


@triton.jit
def sums_of_stored(  # type: ignore[no-untyped-def]
    K_ptr, v_ptr, i, n, m, row_stride, column_stride, BM: tl.constexpr, BN: tl.constexpr
):  # fmt: skip
    """sum_j K_ij v_j of K in memory."""
    part = tl.zeros([BM, BN], tl.float32)
    offset = i[:, None].to(tl.int64) * row_stride
    for first in range(0, m, BN):
        j = first + tl.arange(0, BN)
        v = tl.load(v_ptr + j, mask=j < m, other=0.0, cache_modifier=".cg")
        inside = (i < n)[:, None] & (j < m)[None, :]
        K = tl.load(K_ptr + offset + j[None, :].to(tl.int64) * column_stride, mask=inside, other=0.0)
        part += K * v[None, :]
    return tl.sum(part, 1)


@triton.jit
def sums_of_tiles(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, v_ptr, i, n, m, d, margin, pos_margin, gamma, lam,
    ITSELF: tl.constexpr, CHUNKS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """sum_j K_ij v_j of a K that is nowhere stored; added up in float64, as there may be very many tiles."""
    sums = tl.zeros([BM], tl.float64)
    for first in range(0, m, BN):
        j = first + tl.arange(0, BN)
        v = tl.load(v_ptr + j, mask=j < m, other=0.0, cache_modifier=".cg")
        K = kernel_tile(
            x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, i, j, n, m, d, margin, pos_margin, gamma, lam,
            ITSELF, CHUNKS, BD, PRECISION,
        )  # fmt: skip
        sums += tl.sum(K * v[None, :], 1)
    return sums.to(tl.float32)


@triton.jit
def store_sums(sums_ptr, u_ptr, i, sums, n, MODE: tl.constexpr):  # type: ignore[no-untyped-def]
    if MODE == ROWS:
        tl.store(u_ptr + i, (1.0 / n) / sums, mask=i < n)
    else:
        tl.store(sums_ptr + i, sums, mask=i < n)


@triton.jit
def arrive(state_ptr, programs):  # type: ignore[no-untyped-def]
    """Whether this program is the last of a pass to get here; it then sees what all the others have stored."""
    tl.debug_barrier()
    ticket = tl.atomic_add(state_ptr + COUNTER, 1, sem="acq_rel", scope="gpu")
    tl.debug_barrier()
    return ticket % programs == programs - 1
