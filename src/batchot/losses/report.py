"""What a plan does: reports and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.losses.backends.general import misplacement_of, plan_of, positive_pairs
from batchot.losses.problem import (
    Distance,
    Problem,
    at_working_precision,
    check_distance,
    check_problem,
    named_rows,
)
from batchot.losses.settings import BatchOTSettings
from batchot.transport import pair_distances


@dataclass(frozen=True)
class PlanHistogram:
    """Shares of the pairs and of the mass, bin k holding k / bins <= D < (k + 1) / bins, the last one D = 1 as well."""

    positive_pairs: tuple[float, ...]
    negative_pairs: tuple[float, ...]
    positive_mass: tuple[float, ...]
    negative_mass: tuple[float, ...]


def plan_histogram(D: Tensor, T: Tensor, positive: Tensor, bins: int) -> PlanHistogram:
    """Count pairs and mass by ground distance."""
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


@dataclass(frozen=True)
class PlanReport:
    """Where the mass of a plan lies; shares are fractions of its total mass or of the allowed pairs."""

    violated_mass: float  # share of the mass on pairs with M_ij > 0
    violated_pairs: float  # share of the allowed pairs with M_ij > 0: violated_mass under the uniform plan
    positive_mass: float  # share of the mass on positive pairs
    positive_pairs: float  # share of the allowed pairs that are positive
    effective_pairs: float  # exp(entropy of the plan)
    allowed_pairs: int  # pairs that may have mass, the most that effective_pairs can be
    entropy: float  # nats
    # mean over the allowed pairs of |T_ij dM_ij/dx_i| / 2; None with a distance of one's own
    gradient: float | None
    positive_gradient: float | None  # share of the sum of these that comes from positive pairs
    marginal_error: float  # sum of the absolute errors of all marginals
    iterations: int  # of the solver
    histogram: PlanHistogram  # of the pairs and of the mass by D


def plan_report(
    embeddings: Tensor,
    labels: Tensor | None = None,
    indices_tuple: Sequence[Tensor] | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    settings: BatchOTSettings | None = None,
    distance: Distance | None = None,
    bins: int = 20,
) -> PlanReport:
    """Report on the plan that the loss with these settings uses for this batch.

    Args:
        embeddings, labels, indices_tuple, ref_emb, ref_labels, distance: as in :func:`batchot.batch_ot_loss`.
        settings: ``loss.settings`` of a :class:`batchot.BatchOTLoss`; the defaults when None.
        bins: of the histogram of D.

    Returns:
        A :class:`PlanReport` of plain numbers.

    Example:
        >>> import torch
        >>> report = plan_report(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> report.violated_mass > 0.9, report.violated_pairs  # only the positive pairs are badly placed
        (True, 0.3333333432674408)
    """
    settings = BatchOTSettings() if settings is None else settings
    check_distance(distance)
    problem = named_rows(
        check_problem(embeddings, labels, indices_tuple, ref_emb, ref_labels, settings, distance)
    )
    with torch.no_grad():
        M = misplacement_of(problem)
        plan = plan_of(M, problem)
        T = plan.coupling
        total = T.sum().clamp(min=torch.finfo(T.dtype).tiny)
        allowed = T > 0
        count = allowed.sum().clamp(min=1)
        violated = (M > 0) & allowed
        positive = positive_pairs(problem)
        gradient, positive_gradient = None, None
        if distance is None:
            pull = _gradients(M, T, problem)
            gradient = float(pull.sum() / count)
            positive_gradient = float(pull[positive].sum() / pull.sum().clamp(min=1e-30))
        return PlanReport(
            violated_mass=float((T * violated).sum() / total),
            violated_pairs=float(violated.sum() / count),
            positive_mass=float((T * positive).sum() / total),
            positive_pairs=float((positive & allowed).sum() / count),
            effective_pairs=float(plan.effective_pairs),
            allowed_pairs=int(allowed.sum()),
            entropy=float(plan.entropy),
            gradient=gradient,
            positive_gradient=positive_gradient,
            marginal_error=float(plan.marginal_error),
            iterations=plan.iterations,
            histogram=plan_histogram(torch.exp(-settings.gamma * M), T, positive, bins),
        )


def _gradients(M: Tensor, T: Tensor, problem: Problem) -> Tensor:
    """Norm of what each pair pulls at the (normalised) embedding of its row: T |dM/d delta| |d delta/dx| / 2."""
    s = problem.settings
    x, y = (at_working_precision(z, s.normalize) for z in (problem.x, problem.columns))
    distance = pair_distances(x, y, power=1)
    slope = torch.ones_like(distance) if s.distance_power == 1 else 2 * distance
    hinge = (M > 0).to(M.dtype) if s.power == 1 else 2 * M.sqrt()
    return 0.5 * T * hinge * slope
