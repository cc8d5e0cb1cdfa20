"""Problems for the kernels, and the general path in float64 as their oracle."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from batchot import batch_ot_loss
from batchot.losses.backends.triton.problem import Options, Problem, Tiles
from batchot.losses.problem import Problem as LossProblem
from batchot.losses.settings import BatchOTSettings

TINY = Tiles(
    BM=16, BN=32, BD=16, gradient_BM=16, gradient_BN=32, BC=16, pass_rows=16, pass_columns=32, step=32
)


class Outcome(NamedTuple):
    """A loss and its gradients, in float64 on the CPU."""

    loss: Tensor
    grad_x: Tensor
    grad_y: Tensor | None


def random_batch(
    n: int, m: int | None, d: int, classes: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32
) -> LossProblem:
    """Embeddings around one centre a class; m is None for a batch against itself."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, d, generator=generator)

    def some(size: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(0, classes, (size,), generator=generator)
        return (0.5 * centres[labels] + 0.5 * torch.randn(size, d, generator=generator)).to(dtype), labels

    x, lx = some(n)
    y, ly = (None, None) if m is None else some(m)
    return LossProblem(x, lx, y, ly)


def problem(
    batch: LossProblem, settings: BatchOTSettings, device: torch.device, precision: str = "ieee"
) -> Problem:
    """What `gpu_loss` hands to the kernels."""
    s = settings
    uniform = s.plan == "uniform"
    options = Options(
        s.margin, s.pos_margin, s.gamma, s.lam, s.normalize, uniform, s.tolerance, s.max_iterations, precision
    )  # fmt: skip
    x, y, lx, ly = (
        None if t is None else t.to(device) for t in (batch.x, batch.y, batch.labels, batch.y_labels)
    )
    assert x is not None and lx is not None
    return Problem(x, y, lx.long(), None if ly is None else ly.long(), True, options)


def expected(batch: LossProblem, settings: BatchOTSettings) -> Outcome:
    """The general path in float64."""
    x = batch.x.double().requires_grad_()
    y = None if batch.y is None else batch.y.double().requires_grad_()
    s = settings
    loss = batch_ot_loss(
        x, batch.labels, ref_emb=y, ref_labels=batch.y_labels, margin=s.margin, pos_margin=s.pos_margin, gamma=s.gamma,
        lam=s.lam, normalize=s.normalize, plan=s.plan, tolerance=1e-9, max_iterations=5000,
    )  # fmt: skip
    loss.backward()
    assert x.grad is not None
    return Outcome(loss.detach(), x.grad, None if y is None else y.grad)


def assert_same(found: Outcome, wanted: Outcome, tolerance: float = 1e-5) -> None:
    """Loss and gradients agree, relative to the loss and to the largest entry of the gradients."""
    assert abs(found.loss - wanted.loss) <= tolerance * abs(wanted.loss) + 1e-7
    grads = [(found.grad_x, wanted.grad_x), (found.grad_y, wanted.grad_y)]
    largest = max(float(w.abs().max()) for _, w in grads if w is not None)
    for f, w in grads:
        if w is not None:
            assert f is not None and f.shape == w.shape
            assert float((f.cpu().double() - w).abs().max()) <= tolerance * largest + 1e-7
