"""Losses: batch-wise optimal transport on a batch of embeddings, between modalities, and with cross-entropy."""

import sys

from batchot.losses.batch_ot import BatchOTLoss, ClassAnchors, batch_ot_loss
from batchot.losses.cross_modal import CrossModal, CrossModalBatchOTLoss
from batchot.losses.distributed import DistributedLoss
from batchot.losses.gradient_cache import GradientCache, cached_forward
from batchot.losses.joint import JointLoss
from batchot.losses.problem import TermWeights
from batchot.losses.report import PlanHistogram, PlanReport, plan_report
from batchot.losses.settings import PRESETS, BatchOTSettings

# Losses that were pickled whole by earlier versions name the modules where parts of them were.
sys.modules |= {
    f"{__name__}.anchors": sys.modules[ClassAnchors.__module__],
    f"{__name__}.cross_modal_terms": sys.modules[TermWeights.__module__],
}

__all__ = [
    "PRESETS", "BatchOTLoss", "BatchOTSettings", "ClassAnchors", "CrossModal", "CrossModalBatchOTLoss",
    "DistributedLoss", "GradientCache", "JointLoss", "PlanHistogram", "PlanReport", "batch_ot_loss",
    "cached_forward", "plan_report",
]  # fmt: skip
