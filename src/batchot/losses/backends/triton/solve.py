"""Which kernels a problem is given to, and their order: prepare, scale (unless uniform), loss and gradient.

On each device they are compared with plain PyTorch once before they are used there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from batchot.losses.backends.triton import persistent, small
from batchot.losses.backends.triton.gradient import loss_and_gradient
from batchot.losses.backends.triton.passes import kernel_matrix, scale_stored, scale_tiled
from batchot.losses.backends.triton.prepare import prepare_both
from batchot.losses.backends.triton.problem import Options, Problem, Result, Scalings, Tiles

Path = Literal["small", "persistent", "stored", "tiled"]

# On an H100 a pass over a stored K costs 4 bytes a pair, 1.2 ps of 3.35 TB/s; computing the pair again costs 3 * 2 d
# flops (three TF32 products make one of float32), 1.9 ps of 400 TFLOP/s at d = 128 and 7.7 ps at d = 512, besides two
# exponentials. So K is stored as long as it takes little memory.
STORED_BYTES = 256 * 2**20

_SCALE: dict[str, Callable[[Tensor, bool, Options, Tiles], Scalings]] = {
    "small": small.scale_small,
    "persistent": persistent.scale_persistent,
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
    if p.y is None or not p.need_grad:
        return Result(loss, error, grad_x, grad_x.new_empty(0, p.x.shape[1]))
    _, grad_y = loss_and_gradient(y, x, v, u, options, True, tiles)
    return Result(loss, error, grad_x, grad_y)


_SIZE, _WIDTH, _CLASSES = 96, 24, 5  # a problem that takes no time, with more than one tile of most kernels
_TOLERANCE = 1e-4  # of the loss, and of the largest entry of the gradient; wrong kernels are off by far more


@cache
def kernels_agree(device: torch.device, path: Path, tiles: Tiles) -> bool:
    """Whether the kernels of a path give the loss and gradient of plain PyTorch; a warning says where they do not."""
    try:
        wrong = _disagreement(device, path, tiles)
    except Exception as error:  # whatever a compiler or a driver brings
        wrong = f"{type(error).__name__}: {error}"
    if wrong is None:
        return True
    warnings.warn(
        f"the GPU kernels of the loss ({path}) are not used on {device}: {wrong}. Plain PyTorch computes the same "
        "loss, more slowly. Please report this with your GPU and the versions of torch and triton.",
        RuntimeWarning,
        stacklevel=4,
    )
    return False


def _disagreement(device: torch.device, path: Path, tiles: Tiles) -> str | None:
    from batchot.losses.backends.general import general_loss
    from batchot.losses.problem import Problem as LossProblem
    from batchot.losses.settings import BatchOTSettings

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_SIZE, _WIDTH, generator=generator).to(device)
    labels = (torch.arange(_SIZE) % _CLASSES).to(device)
    s = BatchOTSettings()
    options = Options(
        s.margin, s.pos_margin, s.gamma, s.lam, s.normalize, False, s.tolerance, s.max_iterations, "tf32x3"
    )  # fmt: skip
    found = solve(Problem(x, None, labels, None, True, options), path, tiles)
    leaf = x.double().requires_grad_()
    with torch.enable_grad():
        wanted = general_loss(LossProblem(leaf, labels, settings=s))
        (grad,) = torch.autograd.grad(wanted, leaf)
    off = float((found.loss.double() - wanted.detach()).abs() / wanted.detach())
    if not off <= _TOLERANCE:
        return f"their loss is off by {off:.1e} of it"
    off = float((found.grad_x.double() - grad).abs().max() / grad.abs().max())
    return None if off <= _TOLERANCE else f"their gradient is off by {off:.1e} of its largest entry"
