"""All of Sinkhorn's iteration in one launch over a stored K, for batches of a few hundred.

One program reads all of K from the level-2 cache in every pass. Several programs share its rows and wait for each
other on a counter in memory, which needs all of them on the device at once: the launch is a cooperative one, which the
driver refuses otherwise, and the wait is bounded, so that a mistake gives a loss of NaN and no hang.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.gpu.iterate import (
    COLUMNS,
    DONE,
    GENERATION,
    ROWS,
    SYMMETRIC,
    arrive,
    step_of_v,
    store_sums,
    sums_of_stored,
)
from batchot.losses.gpu.problem import Options, Scalings, Tiles
from batchot.losses.gpu.workspace import Workspace

LARGEST = 1024  # rows and columns
_PATIENCE = tl.constexpr(1 << 22)  # looks at the counter, about a second


@triton.jit
def _wait(state_ptr, error_ptr, generation):  # type: ignore[no-untyped-def]
    """Until the last program of a pass has opened the next one; what it stored is then seen."""
    looks = 0
    seen = tl.atomic_add(state_ptr + GENERATION, 0, sem="acquire", scope="gpu")
    while (seen < generation) & (looks < _PATIENCE):
        seen = tl.atomic_add(state_ptr + GENERATION, 0, sem="acquire", scope="gpu")
        looks += 1
    if seen < generation:
        tl.store(error_ptr, float("nan"))
        tl.store(state_ptr + DONE, 1)
    tl.debug_barrier()


@triton.jit
def _pass(  # type: ignore[no-untyped-def]
    K_ptr, given_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
    rows, columns, row_stride, column_stride, tolerance, is_last, generation,
    MODE: tl.constexpr, PROGRAMS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    for block in range(tl.program_id(0), tl.cdiv(rows, BM), PROGRAMS):
        i = block * BM + tl.arange(0, BM)
        sums = sums_of_stored(K_ptr, given_ptr, i, rows, columns, row_stride, column_stride, BM, BN)
        store_sums(sums_ptr, u_ptr, i, sums, rows, MODE)
    if arrive(state_ptr, PROGRAMS):
        if MODE != ROWS:
            step_of_v(
                sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                columns, rows, tolerance, is_last, MODE, BLOCK,
            )  # fmt: skip
        tl.debug_barrier()
        tl.atomic_add(state_ptr + GENERATION, 1, sem="release", scope="gpu")
    if PROGRAMS > 1:
        _wait(state_ptr, error_ptr, generation)
    else:
        tl.debug_barrier()


@triton.jit
def persistent_kernel(  # type: ignore[no-untyped-def]
    K_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
    n, m, tolerance, max_iterations,
    ITSELF: tl.constexpr, PROGRAMS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The scalings of K (n, m), whose rows PROGRAMS programs share."""
    step = 0
    go_on = max_iterations > 0
    while go_on:
        is_last = (step + 1 == max_iterations).to(tl.int32)
        if ITSELF:
            _pass(
                K_ptr, v_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                n, m, m, 1, tolerance, is_last, step + 1, SYMMETRIC, PROGRAMS, BM, BN, BLOCK,
            )  # fmt: skip
        else:
            _pass(
                K_ptr, v_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                n, m, m, 1, tolerance, is_last, 2 * step + 1, ROWS, PROGRAMS, BM, BN, BLOCK,
            )  # fmt: skip
            _pass(
                K_ptr, u_ptr, sums_ptr, v_ptr, u_ptr, best_u_ptr, vectors_ptr, differences_ptr, state_ptr, error_ptr,
                m, n, 1, m, tolerance, is_last, 2 * step + 2, COLUMNS, PROGRAMS, BN, BM, BLOCK,
            )  # fmt: skip
        step += 1
        go_on = (tl.load(state_ptr + DONE, volatile=True) == 0) & (step < max_iterations)


def scale_persistent(K: Tensor, itself: bool, options: Options, tiles: Tiles, programs: int = 1) -> Scalings:
    """The scalings of K (n, m) by one launch; more than one program needs a GPU that is free for all of them."""
    n, m = K.shape
    w = Workspace.new(n, m, itself, K.device)
    together = {"launch_cooperative_grid": True} if programs > 1 else {}
    persistent_kernel[(programs,)](
        K, w.sums, w.v, w.u, w.best_u, w.vectors, w.differences, w.state, w.error,
        n, m, options.tolerance, options.max_iterations,
        ITSELF=itself, PROGRAMS=programs, BM=tiles.pass_rows, BN=tiles.pass_columns, BLOCK=tiles.step, num_warps=16,
        **together,
    )  # fmt: skip
    return Scalings(w.best_u, w.v, w.error)


def cooperative_programs(K: Tensor, tiles: Tiles) -> int:
    """As many programs as there are blocks of rows, and at most one a multiprocessor."""
    blocks = triton.cdiv(max(K.shape), tiles.pass_rows)
    return min(blocks, torch.cuda.get_device_properties(K.device).multi_processor_count)
