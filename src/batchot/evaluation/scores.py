"""Measures of retrieval as functions of the ranks of relevant items, and their scores: per query, class, averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from batchot.evaluation.ranking import RankedChunk

# Throughout, `ranks` is (q, K), float, ascending along each row, 1 for the nearest item and inf where a query has fewer
# than K relevant items; `n_relevant` is (q,), the C of each query, at least 1.
E_CUTOFF = 32
RECALL_STEPS = 20


def relevant_within(ranks: Tensor, cutoff: Tensor) -> Tensor:
    r"""Return the number of relevant items among the first ``cutoff`` :math:`\sum_{k \le cutoff} G_k`."""
    return torch.searchsorted(ranks, cutoff[:, None].to(ranks), right=True)[:, 0]


def nearest_neighbor(ranks: Tensor) -> Tensor:
    """NN: whether the first item is relevant, ``G_1``; ``(q,)`` of 0 and 1."""
    return (ranks[:, 0] == 1).to(ranks)


def first_tier(ranks: Tensor, n_relevant: Tensor) -> Tensor:
    r"""FT: the recall within the first C items, :math:`\sum_{k \le C} G_k / C`; ``(q,)``."""
    return relevant_within(ranks, n_relevant) / n_relevant.to(ranks)


def second_tier(ranks: Tensor, n_relevant: Tensor) -> Tensor:
    r"""ST: the recall within the first 2C items, :math:`\sum_{k \le 2C} G_k / C`; ``(q,)``."""
    return relevant_within(ranks, 2 * n_relevant) / n_relevant.to(ranks)


def e_measure(ranks: Tensor, n_relevant: Tensor, n_ranked: Tensor) -> Tensor:
    r"""E: :math:`2PR / (P + R)` over the first 32 items, higher is better; ``(q,)``."""
    seen = n_ranked.clamp(max=E_CUTOFF)
    return 2 * relevant_within(ranks, seen) / (seen + n_relevant).to(ranks)


def discounted_cumulative_gain(ranks: Tensor, n_relevant: Tensor) -> Tensor:
    r"""DCG: :math:`(G_1 + \sum_{k \ge 2} G_k / \log_2 k) / (1 + \sum_{k=2}^{C} 1 / \log_2 k)`; ``(q,)``."""
    # on the CPU, because a floating point cumsum on a GPU is refused under use_deterministic_algorithms
    gains = _gain(torch.arange(1, ranks.shape[1] + 1, dtype=ranks.dtype, device="cpu"))  # (K,)
    return _gain(ranks).sum(dim=1) / gains.cumsum(dim=0).to(ranks.device)[n_relevant - 1]


def average_precision(ranks: Tensor, n_relevant: Tensor) -> Tensor:
    r"""AP, ``(q,)``: mean over the relevant items of the precision at their rank, :math:`\frac1C \sum_k k / r_k`."""
    return _precision_at_relevant(ranks).sum(dim=1) / n_relevant.to(ranks)


def average_precision_within(ranks: Tensor, n_relevant: Tensor, cutoff: Tensor) -> Tensor:
    r"""AP at k: :math:`\frac{1}{\min(k, C)} \sum_{r_j \le k} j / r_j`; ``(q,)``. AP@R is that of k = C."""
    ranks = ranks[:, : int(cutoff.max())]  # the j-th relevant item has rank j or more
    found = _precision_at_relevant(ranks).masked_fill_(ranks > cutoff[:, None], 0)
    return found.sum(dim=1) / torch.minimum(cutoff, n_relevant)


def reciprocal_rank(ranks: Tensor) -> Tensor:
    """RR: one over the rank of the first relevant item; ``(q,)``."""
    return ranks[:, 0].reciprocal()


def found_within(ranks: Tensor, k: int) -> Tensor:
    """Recall at k of metric learning: whether any of the first k items is relevant; ``(q,)`` of 0 and 1."""
    return (ranks[:, 0] <= k).to(ranks)


def padded_average_precision(ranks: Tensor, largest: int) -> Tensor:
    r"""AP as the evaluation code of SHREC'13 computes it, :math:`\frac1{C_{max}} \sum_k k / r_k`; ``(q,)``."""
    return _precision_at_relevant(ranks).sum(dim=1) / largest


def interpolated_precision(ranks: Tensor, n_relevant: Tensor) -> Tensor:
    r"""Precision at the recalls 0, 0.05, .., 1: :math:`p(R) = \max_{k \ge R C} k / r_k`; ``(q, 21)``."""
    best_from_here = _precision_at_relevant(ranks).flip(1).cummax(dim=1).values.flip(1)  # (q, K)
    steps = torch.arange(RECALL_STEPS + 1, device=ranks.device)
    # ceil(R C) in integers: 0.15 * 20 is more than 3 in floating point
    needed = (steps * n_relevant[:, None] + RECALL_STEPS - 1) // RECALL_STEPS  # (q, 21)
    return best_from_here.gather(1, (needed - 1).clamp(min=0))


def _gain(ranks: Tensor) -> Tensor:
    return ranks.clamp(min=2).log2().reciprocal()  # rank 1 and rank 2 both gain 1


def _precision_at_relevant(ranks: Tensor) -> Tensor:
    return torch.arange(1, ranks.shape[1] + 1, device=ranks.device, dtype=ranks.dtype) / ranks


ApConvention = Literal["relevant", "shrec13"]
SCALARS = ("nn", "ft", "st", "e", "dcg", "map", "map_at_r", "mrr")


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Interpolated precision at 21 recalls, averaged like the measures beside it; on the CPU, float64."""

    recall: Tensor  # (21,) 0, 0.05, .., 1
    precision: Tensor  # (21,) the best precision at this recall or a higher one


class AtK(dict[int, float]):
    """A measure at several k, ``recall_at[10]``."""

    def __missing__(self, k: int) -> float:
        raise KeyError(f"measured at k = {', '.join(map(str, self))} only; ask for {k} by at=[{k}]")


@dataclass(frozen=True, eq=False)
class RetrievalAverages:
    """The measures of retrieval as fractions, averaged over queries or over classes."""

    nn: float
    ft: float
    st: float
    e: float
    dcg: float
    map: float
    map_at_r: float  # AP over the first C items only
    mrr: float  # mean of 1 / rank of the first relevant item
    recall_at: AtK = field(repr=False)  # k: how many queries have a relevant item among the first k
    # k: mean of AP over the first k items, 1 if the first min(k, C) are relevant
    map_at: AtK = field(repr=False)
    pr_curve: PrecisionRecallCurve = field(repr=False)
    precision: Tensor = field(repr=False)  # (m,) precision among the first 1, 2, .., m items

    @property
    def r_precision(self) -> float:
        """The precision among the first C items, which is the first tier by another name."""
        return self.ft

    def precision_at_k(self, k: int) -> float:
        r"""Return the precision among the first k items, :math:`\sum_{j \le k} G_j / k`."""
        if not 1 <= k <= len(self.precision):
            raise ValueError(f"k must be from 1 to {len(self.precision)}, the items that are ranked; got {k}")
        return float(self.precision[k - 1])

    def to_dict(self) -> dict[str, float]:
        """Return all that is one number, by name, such as ``"map"`` and ``"recall_at_10"``: what loggers take."""
        numbers = {name: getattr(self, name) for name in SCALARS}
        for name in ("recall_at", "map_at"):
            numbers |= {f"{name}_{k}": value for k, value in getattr(self, name).items()}
        return numbers


@dataclass(frozen=True, eq=False)
class QueryScores:
    """The measures of each query, in the order of the queries, on the CPU; NaN where a query was left out."""

    nn: Tensor  # (n,) float64, as all that follow
    ft: Tensor
    st: Tensor
    e: Tensor
    dcg: Tensor
    ap: Tensor
    ap_at_r: Tensor
    rr: Tensor  # 1 / rank of the first relevant item
    n_relevant: Tensor  # (n,) int64, the C of each query


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Means over the queries of each class that queries have, by ascending label; NaN where none is counted."""

    labels: Tensor  # (c,) int64
    nn: Tensor  # (c,) float64, as all that follow
    ft: Tensor
    st: Tensor
    e: Tensor
    dcg: Tensor
    map: Tensor
    map_at_r: Tensor
    mrr: Tensor
    n_queries: Tensor  # (c,) int64, queries in the means
    n_gallery: Tensor  # (c,) int64, items of the class in the gallery, a query that is one of them counted

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class RetrievalScores(RetrievalAverages):
    """Averages over queries (micro), those over classes in ``macro``, and what they were made from."""

    macro: RetrievalAverages  # the mean over classes of the mean over the queries of the class
    per_query: QueryScores = field(repr=False)
    per_class: ClassMeans = field(repr=False)
    n_queries: int  # queries in the averages
    n_skipped: int  # queries left out because the gallery has nothing relevant to them
    ap_convention: ApConvention = "relevant"  # what is averaged in AP, and so in map

    def to_dict(self) -> dict[str, float]:
        """Return all that is one number, by name; averages over classes are ``"macro_map"`` and so on."""
        macro = {f"macro_{name}": value for name, value in self.macro.to_dict().items()}
        return super().to_dict() | macro | {"n_queries": self.n_queries, "n_skipped": self.n_skipped}


class Totals:
    """Collects the measures of chunks of queries and averages them over queries and over classes."""

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
        self.curves = torch.zeros(len(classes), RECALL_STEPS + 1, dtype=torch.float64, device=device)
        # relevant items at each rank: their number over all queries, and the mean over classes of the mean
        self.hits = torch.zeros(n_ranked, dtype=torch.int64, device=device)
        self.class_hits = torch.zeros(n_ranked, dtype=torch.float64, device=device)

    def add(self, chunk: RankedChunk, n_ranked: Tensor) -> None:
        """Take in the measures of a chunk; ``n_ranked`` (q,) is the number of items ranked for each query."""
        ranks, n_relevant = chunk.ranks, chunk.n_relevant
        self.values[chunk.rows] = torch.stack(
            [
                nearest_neighbor(ranks),
                first_tier(ranks, n_relevant),
                second_tier(ranks, n_relevant),
                e_measure(ranks, n_relevant, n_ranked),
                discounted_cumulative_gain(ranks, n_relevant),
                average_precision(ranks, n_relevant)
                if self.ap_convention == "relevant"
                else padded_average_precision(ranks, self.largest),
                average_precision_within(ranks, n_relevant, n_relevant),
                reciprocal_rank(ranks),
                *(found_within(ranks, k) for k in self.at),
                *(
                    average_precision_within(ranks, n_relevant, torch.full_like(n_relevant, k))
                    for k in self.at
                ),
            ],
            dim=1,
        )
        self.curves[chunk.rows] = interpolated_precision(ranks, n_relevant)
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
        recall = torch.linspace(0, 1, RECALL_STEPS + 1, dtype=torch.float64, device="cpu")
        precision = hits.double().cpu().cumsum(dim=0) / torch.arange(1, len(hits) + 1, device="cpu")
        return RetrievalAverages(
            **dict(zip(SCALARS, scalars.tolist(), strict=True)),
            recall_at=AtK(zip(self.at, recall_at.tolist(), strict=True)),
            map_at=AtK(zip(self.at, map_at.tolist(), strict=True)),
            pr_curve=PrecisionRecallCurve(recall, curve),
            precision=precision.clamp(max=1),
        )
