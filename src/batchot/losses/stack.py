"""All terms of a cross-modal loss solved as one stack on a CPU: one Gram matrix and one gradient.

The embeddings of all modalities stand below one another as Z (N, d); a term is a block of rows and columns of Z Z^T.
With T held fixed and w_ij = T_ij / 2 * dM_ij/d(d2_ij) of each term in its block of A, the gradient of their sum is

    dL/dZ = 2 (diag(S 1) - S) Z,     S = A + A^T.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchot.losses.blocks.options import Options, integer_labels
from batchot.losses.cross_modal_terms import Batches, Term
from batchot.losses.fused import compiled_kernels, once, prepare, suits_kernels, through_norm
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
        return _solve(Z, labels, np.array(blocks, np.int64), settings)


def _is_stackable(batches: Batches, settings: Sequence[BatchOTSettings]) -> bool:
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False  # which see the operator of a single term, and no numbers
    return (
        all(x.device.type == "cpu" and x.dtype != torch.float64 for x, _ in batches.values())
        and sum(len(x) for x, _ in batches.values()) <= _MAX_ROWS
        and all(suits_kernels(s) and s.normalize == settings[0].normalize for s in settings)
        and compiled_kernels() is not None
    )


def _solve(
    Z: Tensor, labels: np.ndarray, blocks: np.ndarray, settings: Sequence[BatchOTSettings]
) -> Tensor | None:
    from batchot.losses import kernels
    from batchot.losses.newton_small import scale

    rows, norm, _ = prepare(Z.detach(), settings[0].normalize, None)
    W = np.zeros((len(Z), len(Z)), np.float32)  # w_ij = T_ij / 2 * dM_ij/d(d2_ij) of each block
    G = torch.mm(rows, rows.T).numpy()
    squares = G.diagonal().copy()
    rho, unread = (
        np.empty(len(Z), np.float32),
        np.empty(0),
    )  # the Laplacian makes the sums of rows and columns
    losses = []
    for (r0, r1, c0, c1), s in zip(blocks.tolist(), settings, strict=True):
        itself = r0 == c0 and r1 == c1
        n, m = r1 - r0, c1 - c0
        o, diagonal = Options.of(s), 0 if itself else kernels.NO_DIAGONAL
        g = np.ascontiguousarray(G[r0:r1, c0:c1])  # so that the loops over its rows vectorise
        cost = (g, squares[r0:r1], squares[c0:c1], labels[r0:r1], labels[c0:c1], *o.cost)
        K, u, v = np.empty((n, m), np.float32), np.empty(n, np.float32), np.empty(m, np.float32)
        if o.uniform:
            u[:] = 1.0 / n / ((n - 1) if itself else m)
            v[:] = 1.0
        else:
            kernels.kernel_rows(*cost, *o.kernel, diagonal, 0, n, K)
            if not scale(K, itself, s.tolerance, s.max_iterations, u, v) <= s.tolerance:
                return None  # a plan beyond float32: the general path solves it
        losses.append(kernels.weight_rows(*cost, u, v, diagonal, o.uniform, 0, n, K, rho[:n], unread))
        W[r0:r1, c0:c1] = K
    if not np.isfinite(losses).all():
        return None  # distances that overflow: the general path says so
    stacked: Tensor = _StackedLosses.apply(Z, rows, norm, torch.from_numpy(W), blocks, np.array(losses))
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
        ctx.save_for_backward(Z, rows, norm, W)
        ctx.blocks = blocks
        return torch.from_numpy(losses).float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        from batchot.losses import stack_kernels

        Z, rows, norm, W = ctx.saved_tensors
        L = stack_kernels.laplacian(W.numpy(), ctx.blocks, grad.detach().contiguous().numpy())
        grad_rows = torch.mm(torch.from_numpy(L), rows).mul_(2.0)
        return once(through_norm(grad_rows, rows, norm), Z, grad), None, None, None, None, None
