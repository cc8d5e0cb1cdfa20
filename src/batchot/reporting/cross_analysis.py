"""What several parts of a cross-modal report need to know about its material, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from batchot.evaluation import RetrievalScores, retrieval_scores
from batchot.reporting.cross_map import SharedMap, lay_out_both
from batchot.reporting.cross_material import CrossModalMaterial
from batchot.reporting.neighbours import nearest_of


@dataclass(frozen=True, eq=False)
class CrossAnalysis:
    """Measures of a cross-modal report's material; every property is computed when it is first asked for."""

    material: CrossModalMaterial

    @cached_property
    def queries(self) -> Tensor:
        """The embeddings of the queries as they are compared, by Euclidean distance, (n, d) float32."""
        return self._compared(self.material.query.embeddings)

    @cached_property
    def gallery(self) -> Tensor:
        """The embeddings of the gallery as they are compared, (m, d) float32."""
        return self._compared(self.material.gallery.embeddings)

    @cached_property
    def query_labels(self) -> Tensor:
        """The labels of the queries, (n,)."""
        return self.material.query.labels.cpu()

    @cached_property
    def gallery_labels(self) -> Tensor:
        """The labels of the gallery, (m,)."""
        return self.material.gallery.labels.cpu()

    @cached_property
    def scores(self) -> RetrievalScores | None:
        """Scores of every query against the whole gallery; None where they have no class in common."""
        return self._scores(padded=False)

    @cached_property
    def padded_scores(self) -> RetrievalScores | None:
        """The same with the average precision of SHREC'13's evaluation code."""
        return self._scores(padded=True)

    @cached_property
    def first_found(self) -> Tensor:
        """The nearest item of the gallery to each query, (n,)."""
        return nearest_of(self.queries, self.gallery, 1)[:, 0]

    @cached_property
    def plane(self) -> SharedMap:
        """Both modalities laid out in one plane; of very many a part, as t-SNE takes seconds a thousand."""
        return lay_out_both(self.queries, self.query_labels, self.gallery, self.gallery_labels)

    def _compared(self, embeddings: Tensor) -> Tensor:
        x = embeddings.detach().cpu().float()
        return torch.nn.functional.normalize(x) if self.material.normalized else x

    def _scores(self, *, padded: bool) -> RetrievalScores | None:
        if not bool(torch.isin(self.query_labels, self.gallery_labels).any()):
            return None
        return retrieval_scores(
            self.queries,
            self.query_labels,
            self.gallery,
            self.gallery_labels,
            ap_convention="shrec13" if padded else "relevant",
        )
