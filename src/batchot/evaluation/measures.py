"""The measures of one query as functions of the ranks of its relevant items.

Throughout, ``ranks`` is ``(q, K)``, float, ascending along each row, 1 for the nearest item and ``inf`` where
a query has fewer than K relevant items; ``n_relevant`` is ``(q,)``, the C of each query, at least 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
    best = (
        _gain(torch.arange(1, ranks.shape[1] + 1, dtype=ranks.dtype, device="cpu"))
        .cumsum(dim=0)
        .to(ranks.device)
    )  # (K,)
    return _gain(ranks).sum(dim=1) / best[n_relevant - 1]


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
