"""The solution of an entropic transport problem, and what can be asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Plan:
    """A transport plan T between n and m points, or a stack of them.

    T minimises <T, D> - h(T) / lam over T >= 0 with row sums a and column sums b. Every property is computed
    when it is first asked for; for a stack of problems each is a tensor with one value a problem.

    Example:
        >>> import torch
        >>> from batchot import sinkhorn
        >>> plan = sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), lam=10.0)
        >>> plan.coupling.round(decimals=3).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
        >>> plan.converged
        True
    """

    coupling: Tensor  # T, (..., n, m)
    a: Tensor  # row sums asked for, (..., n)
    b: Tensor  # column sums asked for, (..., m)
    lam: float  # weight of the cost against the entropy
    iterations: int  # steps of the solver, of all its phases together
    tolerance: float  # marginal error at which the solver was allowed to stop, as a share of the total mass

    @cached_property
    def marginal_error(self) -> Tensor:
        """``sum_i |sum_j T_ij - a_i| + sum_j |sum_i T_ij - b_j|``, summed in float64."""
        T = self.coupling.detach()
        rows = (T.sum(-1, dtype=torch.float64) - self.a).abs().sum(-1)
        columns = (T.sum(-2, dtype=torch.float64) - self.b).abs().sum(-1)
        return rows + columns

    @property
    def converged(self) -> bool:
        """Whether the marginal error of every problem of the stack is within the tolerance of its total mass."""
        return bool((self.marginal_error <= self.tolerance * self.a.sum(-1)).all())

    @cached_property
    def entropy(self) -> Tensor:
        """h(T) = -sum_ij T_ij log T_ij, in nats."""
        return torch.special.entr(self.coupling.detach()).sum((-2, -1), dtype=torch.float64)

    @cached_property
    def effective_pairs(self) -> Tensor:
        """exp(h(T)): n m for the uniform plan, n for a permutation of n points."""
        return self.entropy.exp()

    def transport_cost(self, D: Tensor) -> Tensor:
        """<T, D> for the ground distance D, (..., n, m)."""
        return (self.coupling * D).sum((-2, -1))
