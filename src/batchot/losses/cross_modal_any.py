"""Any metric loss between modalities: within each, and across each pair of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from batchot.losses.cross_modal_terms import (
    AcrossWeights,
    Batches,
    Term,
    TermWeights,
    WithinWeights,
    check_batches,
    weighted_sum,
)
from batchot.losses.term_losses import as_batch, zero_loss


class CrossModal(nn.Module):
    """A loss called as ``loss(embeddings, labels, ref_emb=, ref_labels=)``, summed over the terms of modalities.

    The terms, weights and calls are those of :class:`CrossModalBatchOTLoss`, so that losses can be compared at equal
    terms. ContrastiveLoss, TripletMarginLoss, SupConLoss, GeneralizedLiftedStructureLoss and MultiSimilarityLoss of
    pytorch-metric-learning are so called, and :class:`batchot.BatchOTLoss`; losses with a proxy a class are not.

    Args:
        loss: the loss of one batch against another, or against itself.
        within, across, four_terms: see :class:`CrossModalBatchOTLoss`.

    Example:
        >>> import torch
        >>> from batchot import BatchOTLoss
        >>> loss = CrossModal(BatchOTLoss(plan="uniform"), across=2.0)
        >>> sketches, shapes, labels = torch.eye(4), torch.eye(4).flip(0), torch.tensor([0, 0, 1, 1])
        >>> loss({"sketch": (sketches, labels), "shape": (shapes, labels)}).ndim
        0
    """

    def __init__(
        self,
        loss: nn.Module,
        within: WithinWeights = 1.0,
        across: AcrossWeights = 1.0,
        *,
        four_terms: bool = False,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.weights = TermWeights(within, across, four_terms)

    def forward(
        self,
        batches: Batches | Tensor,
        sketch_labels: Tensor | None = None,
        shape: Tensor | None = None,
        shape_labels: Tensor | None = None,
    ) -> Tensor:
        """The weighted sum of the terms; arguments as for :class:`CrossModalBatchOTLoss`."""
        checked = check_batches(batches, sketch_labels, shape, shape_labels)
        terms = self._terms(checked)
        return weighted_sum(terms, torch.stack([self._loss(term, checked) for term in terms]))

    def terms(
        self,
        batches: Batches | Tensor,
        sketch_labels: Tensor | None = None,
        shape: Tensor | None = None,
        shape_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The value of every term by name, not weighted."""
        checked = check_batches(batches, sketch_labels, shape, shape_labels)
        return {term.name: self._loss(term, checked) for term in self._terms(checked)}

    def _terms(self, batches: Batches) -> tuple[Term, ...]:
        return self.weights.terms({name: len(x) for name, (x, _) in batches.items()})

    def _loss(self, term: Term, batches: Batches) -> Tensor:
        if not term.has_pairs:
            return zero_loss(term, batches)
        batch = as_batch(term, batches)
        value: Tensor = (
            self.loss(batch.x, batch.labels)
            if batch.y is None
            else self.loss(batch.x, batch.labels, ref_emb=batch.y, ref_labels=batch.y_labels)
        )
        return value

    def extra_repr(self) -> str:
        """The weights of the terms."""
        shown = f"within={self.weights.within}, across={self.weights.across}"
        return f"{shown}, four_terms=True" if self.weights.four_terms else shown
