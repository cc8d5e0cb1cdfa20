"""All terms of a cross-modal loss solved as one stack on a CPU, or one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchot.losses.batch import Batch, Distance, batch_misplacement, check_misplacement, forbidden_pairs
from batchot.losses.batch_ot import batch_plan
from batchot.losses.blocks.options import Options, integer_labels
from batchot.losses.cross_modal_terms import Batches, Term
from batchot.losses.fused import (
    compiled_kernels,
    fused_loss,
    is_fusible,
    once,
    once_differentiable,
    prepare,
    suits_kernels,
    through_norm,
)
from batchot.losses.settings import BatchOTSettings
from batchot.transport import sinkhorn

_MAX_ROWS = 512  # beyond, a term is large enough for a call (and threads) of its own


def stacked_losses(
    batches: Batches, terms: Sequence[Term], settings: Sequence[BatchOTSettings]
) -> Tensor | None:
    """The loss of every term, (k,), differentiable once; None where the general path has to compute them."""
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
    from batchot.losses.kernels import scale

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
        from batchot.losses import kernels

        Z, rows, norm, W = ctx.saved_tensors
        L = kernels.laplacian(W.numpy(), ctx.blocks, grad.detach().contiguous().numpy())
        grad_rows = torch.mm(torch.from_numpy(L), rows).mul_(2.0)
        return once(through_norm(grad_rows, rows, norm), Z, grad), None, None, None, None, None


def term_losses(
    batches: Batches, terms: Sequence[Term], settings: Sequence[BatchOTSettings], distance: Distance | None
) -> Tensor:
    """L of every term, differentiable; 0 for a term without pairs."""
    paired = [i for i, term in enumerate(terms) if term.has_pairs]
    some, chosen = [terms[i] for i in paired], [settings[i] for i in paired]
    stacked = stacked_losses(batches, some, chosen) if distance is None and paired else None
    if stacked is not None and len(paired) == len(terms):
        return stacked
    found = (
        _singly([as_batch(term, batches) for term in some], chosen, distance) if stacked is None else stacked
    )
    losses = dict(zip(paired, found, strict=True))
    return torch.stack([losses.get(i, zero_loss(term, batches)) for i, term in enumerate(terms)])


def as_batch(term: Term, batches: Batches) -> Batch:
    """A term as the input of the loss of one batch against another, or against itself."""
    x, labels = term.rows.of(batches)
    if term.columns is None:
        return Batch(x, labels, None, None, None)
    y, y_labels = term.columns.of(batches)
    # Losses recognise a batch against itself by the identity of its tensors, and then leave the diagonal out; here one
    # vector of labels (or embeddings) may well serve two modalities.
    y = y.view_as(y) if y is x else y
    y_labels = y_labels.view_as(y_labels) if y_labels is labels else y_labels
    return Batch(x, labels, y, y_labels, None)


def zero_loss(term: Term, batches: Batches) -> Tensor:
    """0 for a term without pairs, part of the graph, so that a backward pass through it alone is no error."""
    x, _ = batches[term.rows.modality]
    x = x if x.dtype == torch.float64 else x.float()
    return 0.0 * x[:0].sum()


def _singly(
    cases: Sequence[Batch], settings: Sequence[BatchOTSettings], distance: Distance | None
) -> list[Tensor]:
    """Every term by the compiled loop of one problem where it fits, the others by Sinkhorn's iteration on stacks."""
    losses: dict[int, Tensor] = {}
    costs: dict[int, Tensor] = {}  # M of what is left, (n, m)
    alike: dict[tuple[BatchOTSettings, torch.Size, torch.dtype], list[int]] = {}
    for i, (batch, options) in enumerate(zip(cases, settings, strict=True)):
        if distance is None and is_fusible(batch, options):
            losses[i] = fused_loss(batch, options)
            continue
        if options.grad == "detach" and options.plan == "transport":
            batch = once_differentiable(batch)
        M = batch_misplacement(batch, options, distance)
        check_misplacement(M, batch)
        costs[i] = M
        alike.setdefault((options, M.shape, M.dtype), []).append(i)
    for (options, _, _), group in alike.items():
        M = torch.stack([costs[i] for i in group])  # (k, n, m)
        T = _couplings(M, [cases[i] for i in group], options)
        with torch.autocast(M.device.type, enabled=False):
            losses.update(zip(group, 0.5 * (T * M).sum((-2, -1)), strict=True))
    return [losses[i] for i in range(len(cases))]


def _couplings(M: Tensor, cases: Sequence[Batch], settings: BatchOTSettings) -> Tensor:
    """T of every problem of a stack, (k, n, m)."""
    if settings.plan == "uniform":
        return torch.stack([batch_plan(M[k], batch, settings).coupling for k, batch in enumerate(cases)])
    forbidden = [forbidden_pairs(batch) for batch in cases]
    mask = None
    if any(each is not None for each in forbidden):
        none = torch.zeros(M.shape[1:], dtype=torch.bool, device=M.device)
        mask = torch.stack([none if each is None else each for each in forbidden])
    with torch.autocast(M.device.type, enabled=False):
        D = torch.exp(-settings.gamma * (M if settings.grad == "implicit" else M.detach()))
    return sinkhorn(
        D, settings.lam, mask=mask, max_iterations=settings.max_iterations, tolerance=settings.tolerance
    ).coupling
