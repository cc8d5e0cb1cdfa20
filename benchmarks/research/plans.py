"""Plans of a batch against itself that were tried in place of the usual one, see docs/research.md.

Written to be varied, not to be fast: a plain Sinkhorn iteration in the log domain, no gradient through the plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class PlanOptions:
    """How the plan is made; the defaults are the form of the package.

    Args:
        cost: D from M: exp(-gamma M); -gamma M, "linear"; 1 / (1 + gamma M), "saturating"; -gamma (delta - margin) with
            its sign by the kind of pair and no hinge, "no-hinge"; exp(-gamma M / quantile of M), "quantile"
        gamma, lam: as in the package
        quantile: of M over the pairs of the batch
        positive_share: mass of the positives, which then have a plan of their own, as have the negatives (None: one)
        positives_uniform: that plan of the positives is uniform
        unbalanced: weight of the Kullback-Leibler divergence of the marginals (None: they are kept)
        effective: share of the pairs that exp(h(T)) is steered to by lam (None: lam is constant)
        growing: steps over which lam rises from 0
        marginals: "uniform", "hard" (by the sum of a row of M), "easy" (by its inverse), "class" (equal for each class)
    """

    cost: Literal["exp", "linear", "saturating", "no-hinge", "quantile"] = "exp"
    gamma: float = 3.0
    lam: float = 5.0
    quantile: float = 0.5
    positive_share: float | None = None
    positives_uniform: bool = False
    unbalanced: float | None = None
    effective: float | None = None
    growing: int = 0
    marginals: Literal["uniform", "hard", "easy", "class"] = "uniform"


def log_sinkhorn(logK: Tensor, a: Tensor, b: Tensor, exponent: float = 1.0, steps: int = 60) -> Tensor:
    """Scale exp(logK) (n, m) to row sums a and column sums b; an exponent below 1 relaxes both (Chizat 2018)."""
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for step in range(steps):
        before, f = f, exponent * (a.log() - torch.logsumexp(logK + g, 1))
        g = exponent * (b.log() - torch.logsumexp(logK + f[:, None], 0))
        if step % 5 == 4 and float((f - before).abs().max()) < 1e-4:
            break
    return (logK + f[:, None] + g).exp()


class Planner:
    """Makes the plan of one batch after another.

    Args:
        options: how
    """

    def __init__(self, options: PlanOptions) -> None:
        self.options = options
        self.step = 0
        self.lam = options.lam  # steered, where `effective` is set

    def __call__(self, M: Tensor, delta: Tensor, positive: Tensor, margin: float) -> Tensor:
        """Give T (n, n) from misplacement, distances, which pairs are positive (with the diagonal) and the margin."""
        o = self.options
        allowed = ~torch.eye(len(M), dtype=torch.bool)
        D = self._cost(M, delta, positive, margin, allowed)
        lam = o.lam * min(1.0, self.step / o.growing) if o.growing else o.lam
        self.step += 1
        if o.effective is not None:
            return self._steered(D, M, positive, allowed)
        if o.positive_share is None:
            return self._solve(D, M, positive, allowed, lam)
        ours = self._solve(D, M, positive, positive & allowed, 0.0 if o.positives_uniform else lam)
        others = self._solve(D, M, positive, ~positive, lam)
        return o.positive_share * ours + (1 - o.positive_share) * others

    def _cost(self, M: Tensor, delta: Tensor, positive: Tensor, margin: float, allowed: Tensor) -> Tensor:
        o = self.options
        match o.cost:
            case "exp":
                return torch.exp(-o.gamma * M)
            case "linear":
                return -o.gamma * M
            case "saturating":
                return 1 / (1 + o.gamma * M)
            case "no-hinge":
                return -o.gamma * torch.where(positive, delta, margin - delta)
            case "quantile":
                return torch.exp(-o.gamma * M / M[allowed].quantile(o.quantile).clamp(min=1e-3))

    def _solve(self, D: Tensor, M: Tensor, positive: Tensor, mask: Tensor, lam: float) -> Tensor:
        rows = mask.any(1).nonzero()[:, 0]
        T = torch.zeros_like(D)
        if not len(rows):
            return T
        logK = (-lam * D).masked_fill(~mask, -math.inf)[rows][:, rows]
        a = self._marginal(torch.where(mask, M, 0.0).sum(1)[rows], positive.float().sum(1)[rows])
        exponent = 1.0
        if self.options.unbalanced is not None:  # against the independent plan
            exponent = self.options.unbalanced / (self.options.unbalanced + 1 / lam)
            logK = logK - 2 * math.log(len(rows))
        T[rows[:, None], rows[None, :]] = log_sinkhorn(logK, a, a, exponent)
        return T

    def _marginal(self, hardness: Tensor, of_class: Tensor) -> Tensor:
        match self.options.marginals:
            case "uniform":
                weight = torch.ones_like(hardness)
            case "hard":
                weight = hardness + 0.1 * hardness.mean() + 1e-9
            case "easy":
                weight = 1 / (hardness + 0.5 * hardness.mean() + 1e-9)
            case "class":
                weight = 1 / of_class
        return weight / weight.sum()

    def _steered(self, D: Tensor, M: Tensor, positive: Tensor, allowed: Tensor) -> Tensor:
        pairs = int(allowed.sum())
        T = D
        for _ in range(2):
            T = self._solve(D, M, positive, allowed, self.lam)
            mass = T[T > 0]
            effective = float((-(mass * mass.log()).sum()).exp()) / pairs
            factor = 1.15 if effective > (self.options.effective or 0) else 1 / 1.15
            self.lam = min(max(self.lam * factor, 0.1), 300.0)
        return T
