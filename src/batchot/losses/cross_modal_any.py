"""Any metric loss between modalities: within each, and across each pair of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from batchot.losses.cross_modal_base import CrossModalBase
from batchot.losses.cross_modal_terms import AcrossWeights, Batches, Term, TermWeights, WithinWeights
from batchot.losses.term_losses import as_batch, zero_loss


class CrossModal(CrossModalBase):
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
        super().__init__(TermWeights(within, across, four_terms))
        self.loss = loss

    def _losses(self, terms: Sequence[Term], batches: Batches) -> Tensor:
        return torch.stack([self._loss(term, batches) for term in terms])

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
