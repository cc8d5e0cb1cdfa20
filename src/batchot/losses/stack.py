"""All terms of a cross-modal loss solved as one stack on a CPU: one Gram matrix, one compiled call, one gradient.

The embeddings of all modalities stand below one another as Z (N, d); a term is a block of rows and columns of Z Z^T.
With T held fixed and w_ij = T_ij / 2 * dM_ij/d(d2_ij) of each term in its block of A, the gradient of their sum is

    dL/dZ = 2 (diag(S 1) - S) Z,     S = A + A^T.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from batchot.losses.blocks.options import integer_labels
from batchot.losses.cross_modal_terms import Batches, Term
from batchot.losses.fused import compiled_kernels, prepare, suits_kernels, through_norm
from batchot.losses.settings import BatchOTSettings

_MAX_ROWS = 512  # beyond, a term is large enough for a call (and threads) of its own


def stacked_losses(
    batches: Batches, terms: Sequence[Term], settings: Sequence[BatchOTSettings]
) -> Tensor | None:
    """The loss of every term, (k,), differentiable once; None where the general path has to compute them.

    Args:
        batches: checked embeddings and labels by modality.
        terms: what is to be computed; every one has pairs.
        settings: the options of each term.

    Example:
        >>> import torch
        >>> from batchot.losses.cross_modal_terms import TermWeights
        >>> batches = {"sketch": (torch.eye(4), torch.tensor([0, 0, 1, 1]))}
        >>> stacked_losses(batches, TermWeights().terms({"sketch": 4}), [BatchOTSettings()]).shape
        torch.Size([1])
    """
    if not _is_stackable(batches, settings):
        return None
    first: dict[str, int] = {}
    rows = 0
    for name, (x, _) in batches.items():
        first[name] = rows
        rows += len(x)
    blocks = []
    for term in terms:
        columns = term.rows if term.columns is None else term.columns
        at, to = first[term.rows.modality], first[columns.modality]
        blocks.append((at + term.rows.start, at + term.rows.stop, to + columns.start, to + columns.stop))
    with torch.autocast("cpu", enabled=False):
        Z = torch.cat([x.float() for x, _ in batches.values()])  # (N, d)
        labels = np.concatenate(integer_labels(*(labels for _, labels in batches.values())))
        return _solve(Z, labels, np.array(blocks, np.int64), tuple(settings))


def _is_stackable(batches: Batches, settings: Sequence[BatchOTSettings]) -> bool:
    return (
        all(x.device.type == "cpu" and x.dtype != torch.float64 for x, _ in batches.values())
        and sum(len(x) for x, _ in batches.values()) <= _MAX_ROWS
        and all(suits_kernels(s) and s.normalize == settings[0].normalize for s in settings)
        and compiled_kernels() is not None
    )


@lru_cache(maxsize=64)
def _options(settings: tuple[BatchOTSettings, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which plans are uniform, (k,); margin, pos_margin, gamma, lam, tolerance, (k, 5); largest step, (k,)."""
    return (
        np.array([s.plan == "uniform" for s in settings]),
        np.array([(s.margin, s.pos_margin, s.gamma, s.lam, s.tolerance) for s in settings]),
        np.array([s.max_iterations for s in settings]),
    )


def _solve(
    Z: Tensor, labels: np.ndarray, blocks: np.ndarray, settings: tuple[BatchOTSettings, ...]
) -> Tensor | None:
    from batchot.losses import stack_kernels

    rows, norm, _ = prepare(Z.detach(), settings[0].normalize, None)
    W = np.zeros((len(Z), len(Z)), np.float32)
    losses = np.zeros(len(blocks))
    G = torch.mm(rows, rows.T).numpy()
    solved = stack_kernels.solve_blocks(G, labels, blocks, *_options(settings), W, losses)
    if not (solved and np.isfinite(losses).all()):
        return (
            None  # a plan beyond float32, or distances that overflow: the general path solves it or says so
        )
    stacked: Tensor = _StackedLosses.apply(Z, rows, norm, torch.from_numpy(W), blocks, losses)
    return stacked


class _StackedLosses(torch.autograd.Function):
    """The solved losses as a function of the raw embeddings Z."""

    @staticmethod
    def forward(
        ctx: Any,
        Z: Tensor,
        rows: Tensor,
        norm: Tensor | None,
        W: Tensor,
        blocks: np.ndarray,
        losses: np.ndarray,
    ) -> Tensor:
        ctx.save_for_backward(rows, norm, W)
        ctx.blocks = blocks
        return torch.from_numpy(losses).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        from batchot.losses import stack_kernels

        rows, norm, W = ctx.saved_tensors
        L = stack_kernels.laplacian(W.numpy(), ctx.blocks, grad.contiguous().numpy())
        grad_rows = torch.mm(torch.from_numpy(L), rows).mul_(2.0)
        return through_norm(grad_rows, rows, norm), None, None, None, None, None
