"""Losses: batch-wise optimal transport on a batch of embeddings, between modalities, and with cross-entropy."""

from batchot.losses.anchors import ClassAnchors
from batchot.losses.batch_ot import BatchOTLoss, batch_ot_loss
from batchot.losses.cross_modal import CrossModal, CrossModalBatchOTLoss
from batchot.losses.distributed import DistributedLoss
from batchot.losses.gradient_cache import GradientCache, cached_forward
from batchot.losses.joint import JointLoss
from batchot.losses.report import PlanHistogram, PlanReport, plan_report
from batchot.losses.settings import PRESETS, BatchOTSettings

__all__ = [
    "PRESETS",
    "BatchOTLoss",
    "BatchOTSettings",
    "ClassAnchors",
    "CrossModal",
    "CrossModalBatchOTLoss",
    "DistributedLoss",
    "GradientCache",
    "JointLoss",
    "PlanHistogram",
    "PlanReport",
    "batch_ot_loss",
    "cached_forward",
    "plan_report",
]
