"""The losses of the terms of a cross-modal loss: as one stack where that is possible, else a term at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from batchot.losses.batch import Batch, Distance, batch_misplacement, check_misplacement, forbidden_pairs
from batchot.losses.batch_ot import batch_plan
from batchot.losses.cross_modal_terms import Batches, Term
from batchot.losses.fused import fused_loss, is_fusible, once_differentiable
from batchot.losses.settings import BatchOTSettings
from batchot.losses.stack import stacked_losses
from batchot.transport import sinkhorn


def term_losses(
    batches: Batches, terms: Sequence[Term], settings: Sequence[BatchOTSettings], distance: Distance | None
) -> Tensor:
    """L of every term, differentiable; 0 for a term without pairs.

    Args:
        batches: checked embeddings and labels by modality.
        terms: what is to be computed.
        settings: the options of each term.
        distance: as in :func:`batchot.batch_ot_loss`.

    Returns:
        (k,), float32 or float64.

    Example:
        >>> import torch
        >>> from batchot.losses.cross_modal_terms import TermWeights
        >>> batches = {"sketch": (torch.eye(3), torch.arange(3)), "shape": (torch.eye(3)[:1], torch.arange(1))}
        >>> terms = TermWeights().terms({"sketch": 3, "shape": 1})
        >>> term_losses(batches, terms, [BatchOTSettings()] * 3, None).round(decimals=3).tolist()
        [0.0, 0.0, 0.0]
    """
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
