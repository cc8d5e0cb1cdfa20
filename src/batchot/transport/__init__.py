"""Entropic optimal transport on a batch: ground distance, Sinkhorn's iteration, the plan. Imports torch alone."""

from batchot.transport.cost import GroundDistance, ground_distance, misplacement, pair_distances
from batchot.transport.sinkhorn import Plan, SinkhornWarning, sinkhorn

__all__ = [
    "GroundDistance", "Plan", "SinkhornWarning", "ground_distance", "misplacement", "pair_distances",
    "sinkhorn",
]  # fmt: skip
