"""Where the pairs of a batch lie between hard and easy, and where the plan puts its mass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PlanHistogram:
    """Shares of the pairs and of the mass by ground distance D = exp(-gamma M): 0 is the hardest pair, 1 an easy one.

    Bin k of ``bins`` holds k / bins <= D < (k + 1) / bins; D = 1, the pairs that are placed well, is in the last
    bin. The two shares of pairs add up to 1, and so do those of the mass.
    """

    positive_pairs: tuple[float, ...]
    negative_pairs: tuple[float, ...]
    positive_mass: tuple[float, ...]
    negative_mass: tuple[float, ...]


def plan_histogram(D: Tensor, T: Tensor, positive: Tensor, bins: int) -> PlanHistogram:
    """Count pairs and mass by ground distance.

    Args:
        D: ground distances, (n, m)
        T: plan, (n, m); pairs without mass do not count
        positive: bool, (n, m)
        bins: of equal width between 0 and 1

    Returns:
        The shares.

    Example:
        >>> D, T = torch.tensor([[0.1, 1.0]]), torch.tensor([[0.75, 0.25]])
        >>> plan_histogram(D, T, torch.tensor([[True, False]]), bins=2)
        PlanHistogram(positive_pairs=(0.5, 0.0), negative_pairs=(0.0, 0.5), positive_mass=(0.75, 0.0), \
negative_mass=(0.0, 0.25))
    """
    of = (D * bins).long().clamp(0, bins - 1)
    allowed = T > 0

    def shares(chosen: Tensor, weight: Tensor, total: Tensor) -> tuple[float, ...]:
        sums = torch.bincount(of[chosen], weights=weight[chosen].double(), minlength=bins)
        return tuple((sums / total.clamp(min=1e-300)).tolist())

    ones, mass = torch.ones_like(T), T.sum().double()
    count = allowed.sum().double()
    return PlanHistogram(
        shares(allowed & positive, ones, count),
        shares(allowed & ~positive, ones, count),
        shares(allowed & positive, T, mass),
        shares(allowed & ~positive, T, mass),
    )
