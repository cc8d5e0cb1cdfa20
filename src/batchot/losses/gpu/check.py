"""Compare the kernels with plain PyTorch once on each device before they are used there."""

from __future__ import annotations

import warnings
from functools import cache

import torch

from batchot.losses.gpu.problem import Options, Problem, Tiles
from batchot.losses.gpu.solve import Path, solve

_SIZE, _WIDTH, _CLASSES = (
    96,
    24,
    5,
)  # of a problem that takes no time, with more than one tile of most kernels
_TOLERANCE = 1e-4  # of the loss, and of the largest entry of the gradient; wrong kernels are off by far more


@cache
def kernels_agree(device: torch.device, path: Path, tiles: Tiles) -> bool:
    """Whether the kernels of a path give the loss and the gradient of plain PyTorch; a warning says where they do
    not."""
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
    from batchot.losses.batch import Batch
    from batchot.losses.batch_ot import general_loss
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
        wanted = general_loss(Batch(leaf, labels, None, None, None), s, None)
        (grad,) = torch.autograd.grad(wanted, leaf)
    off = float((found.loss.double() - wanted.detach()).abs() / wanted.detach())
    if not off <= _TOLERANCE:
        return f"their loss is off by {off:.1e} of it"
    off = float((found.grad_x.double() - grad).abs().max() / grad.abs().max())
    return None if off <= _TOLERANCE else f"their gradient is off by {off:.1e} of its largest entry"
