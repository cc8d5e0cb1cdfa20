"""All of Sinkhorn's iteration in one launch of one program over a stored K, for batches of a few hundred."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.backends.triton.iterate import (
    COLUMNS,
    DONE,
    ROWS,
    SYMMETRIC,
    arrive,
    step_of_v,
    store_sums,
    sums_of_stored,
)
from batchot.losses.backends.triton.problem import Options, Scalings, Tiles, Workspace

LARGEST = 1024  # rows and columns: one program reads all of K from the level-2 cache in every pass


@triton.jit
def _pass(  # type: ignore[no-untyped-def]
    K_ptr, given_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
    rows, columns, row_stride, column_stride, tolerance, is_last,
    MODE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    for block in range(0, tl.cdiv(rows, BM)):
        i = block * BM + tl.arange(0, BM)
        sums = sums_of_stored(K_ptr, given_ptr, i, rows, columns, row_stride, column_stride, BM, BN)
        store_sums(sums_ptr, u_ptr, i, sums, rows, MODE)
    if MODE != ROWS and arrive(state_ptr, 1):
        step_of_v(
            sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
            columns, rows, tolerance, is_last, MODE, BLOCK,
        )  # fmt: skip
    tl.debug_barrier()


@triton.jit
def persistent_kernel(  # type: ignore[no-untyped-def]
    K_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
    n, m, tolerance, max_iterations,
    ITSELF: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The scalings of K (n, m)."""
    step = 0
    go_on = max_iterations > 0
    while go_on:
        is_last = (step + 1 == max_iterations).to(tl.int32)
        if ITSELF:
            _pass(
                K_ptr, v_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                n, m, m, 1, tolerance, is_last, SYMMETRIC, BM, BN, BLOCK,
            )  # fmt: skip
        else:
            _pass(
                K_ptr, v_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                n, m, m, 1, tolerance, is_last, ROWS, BM, BN, BLOCK,
            )  # fmt: skip
            _pass(
                K_ptr, u_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                m, n, 1, m, tolerance, is_last, COLUMNS, BN, BM, BLOCK,
            )  # fmt: skip
        step += 1
        go_on = (tl.load(state_ptr + DONE, volatile=True) == 0) & (step < max_iterations)


def scale_persistent(K: Tensor, itself: bool, options: Options, tiles: Tiles) -> Scalings:
    """The scalings of K (n, m) by one launch."""
    n, m = K.shape
    w = Workspace.new(n, m, itself, K.device)
    persistent_kernel[(1,)](
        K, w.sums, w.v, w.u, w.best_u, w.vectors, w.differences, w.state, w.error,
        n, m, options.tolerance, options.max_iterations,
        ITSELF=itself, BM=tiles.pass_rows, BN=tiles.pass_columns, BLOCK=tiles.step, num_warps=16,
    )  # fmt: skip
    return Scalings(w.best_u, w.v, w.error)
