"""Deep metric learning with a batch-wise optimal transport loss, and what is built on it.

The names below are loaded when they are first used, so that ``import batchot`` costs nothing.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from batchot.errors import lazily

if TYPE_CHECKING:
    from batchot.evaluation import classification_scores, retrieval_scores
    from batchot.learner import Learner
    from batchot.losses import (
        BatchOTLoss,
        CrossModalBatchOTLoss,
        DistributedLoss,
        JointLoss,
        batch_ot_loss,
        plan_report,
    )
    from batchot.losses.gradient_cache import GradientCache, cached_forward
    from batchot.models.backbones import list_backbones, make_backbone
    from batchot.shapes.formats.read import load_shape
    from batchot.shapes.render.render import render_views
    from batchot.towers.saved import load_run
    from batchot.transport import Plan, ground_distance, sinkhorn

try:
    __version__ = version("batchot")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__getattr__, __dir__ = lazily(
    __name__,
    {
        "evaluation": "classification_scores retrieval_scores",
        "learner": "Learner",
        "losses": "BatchOTLoss CrossModalBatchOTLoss DistributedLoss GradientCache JointLoss batch_ot_loss "
        "cached_forward plan_report",
        "models": "list_backbones make_backbone",
        "shapes.formats.read": "load_shape",
        "shapes.render.render": "render_views",
        "towers.saved": "load_run",
        "transport": "Plan ground_distance sinkhorn",
    },
)

__all__ = [
    "BatchOTLoss", "CrossModalBatchOTLoss", "DistributedLoss", "GradientCache", "JointLoss", "Learner",
    "Plan", "batch_ot_loss", "cached_forward", "classification_scores", "ground_distance", "list_backbones",
    "load_run", "load_shape", "make_backbone", "plan_report", "render_views", "retrieval_scores", "sinkhorn",
]  # fmt: skip
