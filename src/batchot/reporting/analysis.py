"""What several parts of a report need to know about its material, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from batchot.evaluation import (
    ClassificationScores,
    RetrievalScores,
    classification_scores,
    head_predictions,
    retrieval_scores,
)
from batchot.reporting.embedding import PlaneMap, SharedMap, embed_in_plane, lay_out_both
from batchot.reporting.material import ReportMaterial
from batchot.reporting.neighbours import nearest, nearest_of

_LAID_OUT = 1000  # points of the map


@dataclass(frozen=True, eq=False)
class Predictions:
    """A class for every item, and what gave it."""

    classes: Tensor  # (n,) int64
    by: str  # in words


@dataclass(frozen=True, eq=False)
class Analysis:
    """Measures of a report's material; every property is computed when it is first asked for."""

    material: ReportMaterial

    @cached_property
    def x(self) -> Tensor:
        """The embeddings as they are compared, by Euclidean distance, (n, d) float32."""
        return self._compared(self.material.embeddings)

    @cached_property
    def labels(self) -> Tensor:
        return self.material.labels.cpu()

    @cached_property
    def gallery(self) -> Tensor:
        """The embeddings that are looked through, as they are compared, (m, d) float32."""
        return self._compared(self.material.sought.embeddings)

    @cached_property
    def gallery_labels(self) -> Tensor:
        return self.material.sought.labels.cpu()

    @cached_property
    def retrieval(self) -> RetrievalScores | None:
        """Scores of every item as a query; None where nothing is to be found."""
        return self._retrieved("relevant")

    @cached_property
    def padded(self) -> RetrievalScores | None:
        """The same with the average precision of SHREC'13's evaluation code."""
        return self._retrieved("shrec13")

    @cached_property
    def first_found(self) -> Tensor:
        """The nearest item of the gallery to each query, (n,)."""
        return nearest_of(self.x, self.gallery, 1)[:, 0]

    def _compared(self, embeddings: Tensor) -> Tensor:
        x = embeddings.detach().cpu().float()
        return torch.nn.functional.normalize(x) if self.material.normalized else x

    def _retrieved(self, convention: Literal["relevant", "shrec13"]) -> RetrievalScores | None:
        if self.material.gallery is None:
            if int(torch.bincount(self.labels).max()) < 2:
                return None
            return retrieval_scores(self.x, self.labels, ap_convention=convention)
        if not bool(torch.isin(self.labels, self.gallery_labels).any()):
            return None
        both = (self.x, self.labels, self.gallery, self.gallery_labels)
        return retrieval_scores(*both, ap_convention=convention)

    @cached_property
    def average_precision(self) -> Tensor:
        """AP of each query, (n,) float64, NaN where nothing is relevant to it."""
        if self.retrieval is None:
            return torch.full((len(self.material),), torch.nan, dtype=torch.float64)
        return self.retrieval.per_query.ap

    @cached_property
    def predicted(self) -> Predictions | None:
        """Predictions that were given, else by the logits, else by the nearest other item; None for one item."""
        material = self.material
        if material.predictions is not None:
            return Predictions(material.predictions.cpu(), material.predicted_by)
        if material.logits is not None:
            return Predictions(head_predictions(material.logits.cpu()), material.predicted_by)
        if len(material) < 2:
            return None
        found = nearest(self.x, torch.arange(len(material)), 1)[:, 0]  # (n,)
        return Predictions(self.labels[found], "nearest other test item")

    @cached_property
    def plane(self) -> PlaneMap:
        """The embeddings laid out in the plane; of very many a part, as t-SNE takes seconds a thousand."""
        return embed_in_plane(self.x, self.labels, limit=_LAID_OUT)

    @cached_property
    def shared(self) -> SharedMap:
        """Queries and gallery laid out in one plane; of very many a part."""
        return lay_out_both(self.x, self.labels, self.gallery, self.gallery_labels)

    @cached_property
    def classified(self) -> ClassificationScores | None:
        if self.predicted is None:
            return None
        return classification_scores(self.predicted.classes, self.labels, len(self.material.classes))
