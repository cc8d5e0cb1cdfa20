"""What every loss between modalities does: check a call, find its terms, and sum them by weight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from batchot.losses.cross_modal_terms import Batches, Term, TermWeights, check_batches, weighted_sum


class CrossModalBase(nn.Module, ABC):
    """A weighted sum of terms; a subclass computes them.

    Args:
        weights: of the terms, and whether each batch is cut into halves.
    """

    ignore_label: int | None = None  # label of rows that are left out of all terms

    def __init__(self, weights: TermWeights) -> None:
        super().__init__()
        self.weights = weights

    def forward(
        self,
        batches: Batches | Tensor,
        sketch_labels: Tensor | None = None,
        shape: Tensor | None = None,
        shape_labels: Tensor | None = None,
    ) -> Tensor:
        """The weighted sum of the terms.

        Args:
            batches: embeddings (n_k, d) and labels (n_k,) by modality, of different sizes if need be; or the
                embeddings of "sketch" (any first modality), with ``sketch_labels``, ``shape`` and ``shape_labels``.

        Returns:
            A tensor of no dimension, differentiable once. Classes of one modality alone have no positive pair across.
        """
        checked = check_batches(batches, sketch_labels, shape, shape_labels, self.ignore_label)
        terms = self._terms(checked)
        return weighted_sum(terms, self._losses(terms, checked))

    def terms(
        self,
        batches: Batches | Tensor,
        sketch_labels: Tensor | None = None,
        shape: Tensor | None = None,
        shape_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The value of every term by name, not weighted; arguments as for the loss itself."""
        checked = check_batches(batches, sketch_labels, shape, shape_labels, self.ignore_label)
        terms = self._terms(checked)
        losses = self._losses(terms, checked)  # (k,)
        return {term.name: loss for term, loss in zip(terms, losses.unbind(), strict=True)}

    def _terms(self, batches: Batches) -> tuple[Term, ...]:
        return self.weights.terms({name: len(x) for name, (x, _) in batches.items()})

    @abstractmethod
    def _losses(self, terms: Sequence[Term], batches: Batches) -> Tensor:
        """The values of the terms, (k,), not weighted."""

    def extra_repr(self) -> str:
        """The weights of the terms."""
        shown = f"within={self.weights.within}, across={self.weights.across}"
        return f"{shown}, four_terms=True" if self.weights.four_terms else shown
