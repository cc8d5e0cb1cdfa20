"""From raw embeddings to what the other kernels read: unit (or centred) rows in float32 and their squared norms."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from batchot.losses.backends.triton.problem import Problem


class Prepared(NamedTuple):
    """One batch as the kernels read it."""

    x: Tensor  # (n, d), float32, contiguous: unit rows, or rows minus the centre
    inverse: Tensor  # (n,), 1 / norm of the raw row, 1 where rows are not normalised
    squared: Tensor  # (n,), ||x_i||^2
    labels: Tensor  # (n,), int64


@triton.jit
def prepare_kernel(  # type: ignore[no-untyped-def]
    raw_ptr, centre_ptr, x_ptr, inverse_ptr, squared_ptr, n, d, stride, NORMALIZE: tl.constexpr,
    BM: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """x_i = raw_i / ||raw_i||, or raw_i - centre (which changes no distance, and rounds less)."""
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    rows = i < n
    offset = i[:, None].to(tl.int64)
    squared = tl.zeros([BM], tl.float32)
    for first in range(0, d, BD):
        k = first + tl.arange(0, BD)
        inside = rows[:, None] & (k < d)[None, :]
        raw = tl.load(raw_ptr + offset * stride + k[None, :], mask=inside, other=0.0).to(tl.float32)
        if not NORMALIZE:
            raw = raw - tl.load(centre_ptr + k, mask=k < d, other=0.0)[None, :]
            tl.store(x_ptr + offset * d + k[None, :], raw, mask=inside)
        squared += tl.sum(tl.where(inside, raw * raw, 0.0), 1)
    inverse = tl.zeros([BM], tl.float32) + 1.0
    if NORMALIZE:
        inverse = 1.0 / tl.maximum(tl.sqrt_rn(squared), 1e-12, propagate_nan=tl.PropagateNan.ALL)
        squared = tl.zeros([BM], tl.float32)
        for first in range(0, d, BD):
            k = first + tl.arange(0, BD)
            inside = rows[:, None] & (k < d)[None, :]
            raw = tl.load(raw_ptr + offset * stride + k[None, :], mask=inside, other=0.0).to(tl.float32)
            x = raw * inverse[:, None]
            tl.store(x_ptr + offset * d + k[None, :], x, mask=inside)
            squared += tl.sum(x * x, 1)
    tl.store(inverse_ptr + i, inverse, mask=rows)
    tl.store(squared_ptr + i, squared, mask=rows)


def prepare(raw: Tensor, labels: Tensor, normalize: bool, centre: Tensor) -> Prepared:
    """Unit or centred rows of one batch; `centre` is only read where rows are not normalised."""
    n, d = raw.shape
    x = torch.empty(n, d, dtype=torch.float32, device=raw.device)
    inverse, squared = torch.empty(2, n, dtype=torch.float32, device=raw.device).unbind()
    tile = 32 if d > 16 else 16
    rows = 16 if n <= 4096 else 64
    prepare_kernel[(triton.cdiv(n, rows),)](
        raw, centre, x, inverse, squared, n, d, raw.stride(0), NORMALIZE=normalize, BM=rows, BD=tile
    )
    return Prepared(x, inverse, squared, labels)


def prepare_both(p: Problem) -> tuple[Prepared, Prepared]:
    """Both batches of a problem; the same object twice for a batch against itself."""
    normalize = p.options.normalize
    centre = p.x if normalize else p.x.float().mean(0)
    x = prepare(p.x, p.lx, normalize, centre)
    if p.y is None or p.ly is None:
        return x, x
    return x, prepare(p.y, p.ly, normalize, centre)
