"""Which kernels a problem is given to, and their order: prepare, scale (unless uniform), loss and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from batchot.losses.gpu import persistent, small
from batchot.losses.gpu.gradient import loss_and_gradient
from batchot.losses.gpu.passes import kernel_matrix, scale_stored, scale_tiled
from batchot.losses.gpu.prepare import prepare_both
from batchot.losses.gpu.problem import Options, Problem, Result, Scalings, Tiles

Path = Literal["small", "persistent", "cooperative", "stored", "tiled"]

# On an H100 a pass over a stored K costs 4 bytes a pair, 1.2 ps of 3.35 TB/s; computing the pair again costs 3 * 2 d
# flops (three TF32 products make one of float32), 1.9 ps of 400 TFLOP/s at d = 128 and 7.7 ps at d = 512, besides two
# exponentials. So K is stored as long as it takes little memory.
STORED_BYTES = 256 * 2**20


def _scale_cooperatively(K: Tensor, itself: bool, options: Options, tiles: Tiles) -> Scalings:
    programs = persistent.cooperative_programs(K, tiles)
    return persistent.scale_persistent(K, itself, options, tiles, programs)


_SCALE: dict[str, Callable[[Tensor, bool, Options, Tiles], Scalings]] = {
    "small": small.scale_small,
    "persistent": persistent.scale_persistent,
    "cooperative": _scale_cooperatively,
    "stored": scale_stored,
}


def choose_path(n: int, m: int) -> Path:
    """How the scalings of an n x m problem are found."""
    if max(n, m) <= small.LARGEST:
        return "small"
    if max(n, m) <= persistent.LARGEST:
        return "persistent"
    return "stored" if 4 * n * m <= STORED_BYTES else "tiled"


def solve(p: Problem, path: Path | None = None, tiles: Tiles | None = None) -> Result:
    """Loss, marginal error and gradients of a problem; path and tile sizes are chosen by its size unless given."""
    options = p.options
    path = choose_path(p.n, p.m) if path is None else path
    tiles = Tiles.for_size(max(p.n, p.m)) if tiles is None else tiles
    x, y = prepare_both(p)
    if options.uniform:
        u = v = x.squared  # not read
        error = torch.zeros((), dtype=torch.float32, device=p.x.device)
    elif path == "tiled":
        u, v, error = scale_tiled(x, y, options, tiles)
    else:
        K = kernel_matrix(x, y, options, tiles)
        u, v, error = _SCALE[path](K, x is y, options, tiles)
        del K
    loss, grad_x = loss_and_gradient(x, y, u, v, options, p.need_grad, tiles)
    if path == "cooperative":  # programs that waited in vain say so in the error
        loss = torch.where(error.isnan(), error, loss)
    if p.y is None or not p.need_grad:
        return Result(loss, error, grad_x, grad_x.new_empty(0, p.x.shape[1]))
    _, grad_y = loss_and_gradient(y, x, v, u, options, True, tiles)
    return Result(loss, error, grad_x, grad_y)
