"""What a plan does to a batch, in a handful of numbers for a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.losses.batch import Distance, batch_misplacement, check_batch, check_distance, positive_pairs
from batchot.losses.batch_ot import batch_plan
from batchot.losses.settings import BatchOTSettings


@dataclass(frozen=True)
class PlanReport:
    """Where the mass of a plan lies; shares are fractions of its total mass."""

    violated_mass: float  # share of the mass on pairs with M_ij > 0
    violated_pairs: float  # share of the allowed pairs with M_ij > 0: violated_mass under the uniform plan
    positive_mass: float  # share of the mass on positive pairs
    effective_pairs: float  # exp(entropy of the plan)
    entropy: float  # nats
    marginal_error: float  # sum of the absolute errors of all marginals
    iterations: int  # of the solver


def plan_report(
    embeddings: Tensor,
    labels: Tensor | None = None,
    indices_tuple: Sequence[Tensor] | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    settings: BatchOTSettings | None = None,
    distance: Distance | None = None,
) -> PlanReport:
    """Report on the plan that the loss with these settings uses for this batch.

    Args:
        embeddings, labels, indices_tuple, ref_emb, ref_labels, distance: as in :func:`batchot.batch_ot_loss`.
        settings: ``loss.settings`` of a :class:`batchot.BatchOTLoss`; the defaults when None.

    Returns:
        A :class:`PlanReport` of plain floats.

    Example:
        >>> import torch
        >>> report = plan_report(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> report.violated_mass > 0.9, report.violated_pairs  # only the positive pairs are badly placed
        (True, 0.3333333432674408)
    """
    settings = BatchOTSettings() if settings is None else settings
    check_distance(distance)
    batch = check_batch(embeddings, labels, indices_tuple, ref_emb, ref_labels)
    with torch.no_grad():
        M = batch_misplacement(batch, settings, distance)
        plan = batch_plan(M, batch, settings)
        T = plan.coupling
        total = T.sum().clamp(min=torch.finfo(T.dtype).tiny)
        allowed = T > 0
        violated = (M > 0) & allowed
        return PlanReport(
            violated_mass=float((T * violated).sum() / total),
            violated_pairs=float(violated.sum() / allowed.sum().clamp(min=1)),
            positive_mass=float((T * positive_pairs(batch)).sum() / total),
            effective_pairs=float(plan.effective_pairs),
            entropy=float(plan.entropy),
            marginal_error=float(plan.marginal_error),
            iterations=plan.iterations,
        )
