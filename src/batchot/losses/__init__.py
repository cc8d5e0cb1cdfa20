"""Losses: batch-wise optimal transport on a batch of embeddings, and its joint form with cross-entropy."""

from batchot.losses.batch_ot import BatchOTLoss, batch_ot_loss
from batchot.losses.joint import JointLoss
from batchot.losses.report import PlanReport, plan_report
from batchot.losses.settings import PRESETS, BatchOTSettings

__all__ = [
    "PRESETS",
    "BatchOTLoss",
    "BatchOTSettings",
    "JointLoss",
    "PlanReport",
    "batch_ot_loss",
    "plan_report",
]
