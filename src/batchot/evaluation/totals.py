"""The measures of chunks of queries, collected and averaged over queries and over classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from batchot.evaluation import measures
from batchot.evaluation.ranking import RankedChunk
from batchot.evaluation.scores import (
    SCALARS,
    ApConvention,
    AtK,
    ClassMeans,
    PrecisionRecallCurve,
    QueryScores,
    RetrievalAverages,
    RetrievalScores,
)


class Totals:
    """Collects the measures of chunks of queries and averages them over queries and over classes.

    Args:
        classes: of the queries, ``(n,)`` int64, from 0.
        counted: ``(n,)`` bool, queries that are in the averages.
        n_relevant: ``(n,)`` the C of each query.
        n_ranked: the most items that are ranked for a query.
        ap_convention: what is averaged in AP.
        at: the k of recall at k and mAP at k.
    """

    def __init__(
        self,
        classes: Tensor,
        counted: Tensor,
        n_relevant: Tensor,
        n_ranked: int,
        ap_convention: ApConvention,
        at: Sequence[int],
    ) -> None:
        device = classes.device
        self.at = at
        self.ap_convention, self.largest = ap_convention, int(n_relevant.max())
        self.classes, self.counted, self.n_relevant = classes, counted, n_relevant
        self.n_counted = int(counted.sum())
        # counted queries of each class
        self.class_size = torch.bincount(classes[counted], minlength=int(classes.max()) + 1)
        self.n_classes = int((self.class_size > 0).sum())
        # queries that are counted and come in no chunk have nothing relevant: they stay 0
        n_values = len(SCALARS) + 2 * len(at)
        self.values = torch.zeros(len(classes), n_values, dtype=torch.float64, device=device)
        self.curves = torch.zeros(len(classes), measures.RECALL_STEPS + 1, dtype=torch.float64, device=device)
        # relevant items at each rank: their number over all queries, and the mean over classes of the mean
        self.hits = torch.zeros(n_ranked, dtype=torch.int64, device=device)
        self.class_hits = torch.zeros(n_ranked, dtype=torch.float64, device=device)

    def add(self, chunk: RankedChunk, n_ranked: Tensor) -> None:
        """Take in the measures of a chunk; ``n_ranked`` (q,) is the number of items ranked for each query."""
        ranks, n_relevant = chunk.ranks, chunk.n_relevant
        self.values[chunk.rows] = torch.stack(
            [
                measures.nearest_neighbor(ranks),
                measures.first_tier(ranks, n_relevant),
                measures.second_tier(ranks, n_relevant),
                measures.e_measure(ranks, n_relevant, n_ranked),
                measures.discounted_cumulative_gain(ranks, n_relevant),
                measures.average_precision(ranks, n_relevant)
                if self.ap_convention == "relevant"
                else measures.padded_average_precision(ranks, self.largest),
                measures.average_precision_within(ranks, n_relevant, n_relevant),
                measures.reciprocal_rank(ranks),
                *(measures.found_within(ranks, k) for k in self.at),
                *(
                    measures.average_precision_within(ranks, n_relevant, torch.full_like(n_relevant, k))
                    for k in self.at
                ),
            ],
            dim=1,
        )
        self.curves[chunk.rows] = measures.interpolated_precision(ranks, n_relevant)
        last = len(self.hits)
        at = ranks.clamp(max=last + 1).long().sub_(1).flatten()  # one place beyond the last takes the padding
        hits = torch.bincount(at, minlength=last + 1)[:last]
        self.hits += hits
        weights = 1 / (self.class_size[self.classes[chunk.rows]] * self.n_classes).double()  # (q,)
        if bool((weights == weights[0]).all()):  # usual, and spares a slow weighted count
            self.class_hits += hits * weights[0]
        else:
            weights = weights[:, None].expand_as(ranks).flatten()
            # not a weighted bincount, which a GPU refuses under use_deterministic_algorithms
            self.class_hits += weights.new_zeros(last + 1).scatter_add_(0, at, weights)[:last]

    def scores(self, labels: Tensor, n_gallery: Tensor) -> RetrievalScores:
        """Return the averages of all that was added; ``labels`` and ``n_gallery`` (c,) are of all classes."""
        of_query = torch.cat([self.values, self.curves], dim=1)
        totals = of_query.new_zeros(len(self.class_size), of_query.shape[1])
        totals.index_add_(0, self.classes, of_query)
        means = totals / self.class_size[:, None]  # NaN where no query is counted
        of_class = means[self.class_size > 0]
        micro = self._averages(of_query.sum(dim=0) / self.n_counted, self.hits / self.n_counted)
        macro = self._averages(of_class.mean(dim=0), self.class_hits)
        values = self.values[:, : len(SCALARS)].masked_fill(~self.counted[:, None], torch.nan).cpu()
        return RetrievalScores(
            **vars(micro),
            macro=macro,
            per_query=QueryScores(*[*values.T.contiguous(), self.n_relevant.cpu()]),
            per_class=self._per_class(means[:, : len(SCALARS)], labels, n_gallery),
            n_queries=self.n_counted,
            n_skipped=len(self.counted) - self.n_counted,
            ap_convention=self.ap_convention,
        )

    def _per_class(self, means: Tensor, labels: Tensor, n_gallery: Tensor) -> ClassMeans:
        asked = self.classes.unique()  # the classes that queries have
        values = means[asked].clamp(max=1).cpu().T.contiguous()
        columns = [labels[asked].cpu(), *values, self.class_size[asked].cpu(), n_gallery[asked].cpu()]
        return ClassMeans(*columns)

    def _averages(self, means: Tensor, hits: Tensor) -> RetrievalAverages:
        means = means.clamp(max=1).cpu()  # a sum of ones may end an ulp above
        n, k = len(SCALARS), len(self.at)
        scalars, recall_at, map_at, curve = means.split([n, k, k, len(means) - n - 2 * k])
        recall = torch.linspace(0, 1, measures.RECALL_STEPS + 1, dtype=torch.float64, device="cpu")
        precision = hits.double().cpu().cumsum(dim=0) / torch.arange(1, len(hits) + 1, device="cpu")
        return RetrievalAverages(
            **dict(zip(SCALARS, scalars.tolist(), strict=True)),
            recall_at=AtK(zip(self.at, recall_at.tolist(), strict=True)),
            map_at=AtK(zip(self.at, map_at.tolist(), strict=True)),
            pr_curve=PrecisionRecallCurve(recall, curve),
            precision=precision.clamp(max=1),
        )
