"""Launches of one pass each, for problems of any size: K computed again in every pass, or stored where it is small."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.backends.triton.device import kernel_tile
from batchot.losses.backends.triton.iterate import (
    COLUMNS,
    DONE,
    ROWS,
    SYMMETRIC,
    arrive,
    step_of_v,
    store_sums,
    sums_of_stored,
    sums_of_tiles,
)
from batchot.losses.backends.triton.prepare import Prepared
from batchot.losses.backends.triton.problem import Options, Scalings, Tiles, Workspace

LAUNCHES = (
    96  # steps at most, whatever max_iterations says: a launch that finds the work done takes 1 to 2 us
)


@triton.jit
def kernel_matrix_kernel(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, K_ptr, n, m, d, margin, pos_margin, gamma, lam,
    ITSELF: tl.constexpr, CHUNKS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """K (n, m)."""
    across = tl.cdiv(m, BN)  # one axis of programs: the second one ends at 65,535
    i = tl.program_id(0) // across * BM + tl.arange(0, BM)
    j = tl.program_id(0) % across * BN + tl.arange(0, BN)
    K = kernel_tile(
        x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, i, j, n, m, d, margin, pos_margin, gamma, lam,
        ITSELF, CHUNKS, BD, PRECISION,
    )  # fmt: skip
    inside = (i < n)[:, None] & (j < m)[None, :]
    tl.store(K_ptr + i[:, None].to(tl.int64) * m + j[None, :], K, mask=inside)


@triton.jit(do_not_specialize=["is_last"])
def stored_pass_kernel(  # type: ignore[no-untyped-def]
    K_ptr, given_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
    rows, columns, row_stride, column_stride, tolerance, is_last,
    MODE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One pass over a stored K (or K^T, by its strides), and the step that follows it."""
    if tl.load(state_ptr + DONE) == 0:
        i = tl.program_id(0) * BM + tl.arange(0, BM)
        sums = sums_of_stored(K_ptr, given_ptr, i, rows, columns, row_stride, column_stride, BM, BN)
        store_sums(sums_ptr, u_ptr, i, sums, rows, MODE)
        if MODE != ROWS and arrive(state_ptr, tl.num_programs(0)):
            step_of_v(
                sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                columns, rows, tolerance, is_last, MODE, BLOCK,
            )  # fmt: skip


@triton.jit(do_not_specialize=["is_last"])
def tiled_pass_kernel(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr,
    given_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
    rows, columns, d, margin, pos_margin, gamma, lam, tolerance, is_last,
    MODE: tl.constexpr, CHUNKS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
    BLOCK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One pass over a K that is computed again (K^T where x and y change places), and the step that follows it."""
    if tl.load(state_ptr + DONE) == 0:
        i = tl.program_id(0) * BM + tl.arange(0, BM)
        sums = sums_of_tiles(
            x_ptr, y_ptr, x2_ptr, y2_ptr, lx_ptr, ly_ptr, given_ptr, i, rows, columns, d, margin, pos_margin, gamma,
            lam, MODE == SYMMETRIC, CHUNKS, BM, BN, BD, PRECISION,
        )  # fmt: skip
        store_sums(sums_ptr, u_ptr, i, sums, rows, MODE)
        if MODE != ROWS and arrive(state_ptr, tl.num_programs(0)):
            step_of_v(
                sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                columns, rows, tolerance, is_last, MODE, BLOCK,
            )  # fmt: skip


def kernel_matrix(x: Prepared, y: Prepared, options: Options, tiles: Tiles) -> Tensor:
    """K (n, m) in float32."""
    (n, d), m = x.x.shape, len(y.x)
    K = torch.empty(n, m, dtype=torch.float32, device=x.x.device)
    kernel_matrix_kernel[(triton.cdiv(n, tiles.BM) * triton.cdiv(m, tiles.BN),)](
        x.x, y.x, x.squared, y.squared, x.labels, y.labels, K, n, m, d,
        options.margin, options.pos_margin, options.gamma, options.lam,
        ITSELF=x is y, PRECISION=options.precision, **tiles.of_product(d),
    )  # fmt: skip
    return K


def scale_stored(K: Tensor, itself: bool, options: Options, tiles: Tiles) -> Scalings:
    """The scalings of K (n, m) by passes over it."""
    w = Workspace.new(K.shape[0], K.shape[1], itself, K.device)

    def run(mode: int, given: Tensor, turned: bool, is_last: bool) -> None:
        rows, columns = K.shape[::-1] if turned else K.shape
        row_stride, column_stride = K.stride()[::-1] if turned else K.stride()
        # Along the columns of K neighbouring rows of the pass are neighbours in memory: a tile that is wide there.
        shape = (tiles.pass_columns, tiles.pass_rows) if turned else (tiles.pass_rows, tiles.pass_columns)
        stored_pass_kernel[(triton.cdiv(rows, shape[0]),)](
            K, given, w.sums, w.v, w.u, w.best_u, w.vectors, w.differences, w.state, w.error,
            rows, columns, row_stride, column_stride, options.tolerance, int(is_last),
            MODE=mode, BM=shape[0], BN=shape[1], BLOCK=tiles.step, num_warps=8,
        )  # fmt: skip

    _iterate(run, itself, w, options)
    return Scalings(w.best_u, w.v, w.error)


def scale_tiled(x: Prepared, y: Prepared, options: Options, tiles: Tiles) -> Scalings:
    """The same without a K in memory."""
    w = Workspace.new(len(x.x), len(y.x), x is y, x.x.device)

    def run(mode: int, given: Tensor, turned: bool, is_last: bool) -> None:
        p, q = (y, x) if turned else (x, y)
        rows, d = p.x.shape
        tiled_pass_kernel[(triton.cdiv(rows, tiles.BM),)](
            p.x, q.x, p.squared, q.squared, p.labels, q.labels,
            given, w.sums, w.v, w.u, w.best_u, w.vectors, w.differences, w.state, w.error,
            rows, len(q.x), d, options.margin, options.pos_margin, options.gamma, options.lam,
            options.tolerance, int(is_last),
            MODE=mode, BLOCK=tiles.step, PRECISION=options.precision, **tiles.of_product(d),
        )  # fmt: skip

    _iterate(run, x is y, w, options)
    return Scalings(w.best_u, w.v, w.error)


def _iterate(run, itself: bool, w: Workspace, options: Options) -> None:  # type: ignore[no-untyped-def]
    steps = min(LAUNCHES, options.max_iterations)
    for step in range(steps):
        is_last = step == steps - 1
        if itself:
            run(SYMMETRIC.value, w.v, False, is_last)
        else:
            run(ROWS.value, w.v, False, is_last)
            run(COLUMNS.value, w.u, True, is_last)
