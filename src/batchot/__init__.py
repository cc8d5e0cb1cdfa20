"""Deep metric learning with a batch-wise optimal transport loss, and what is built on it.

The names below are loaded when they are first used, so that ``import batchot`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "BatchOTLoss": "batchot.losses",
    "CrossModalBatchOTLoss": "batchot.losses",
    "DistributedLoss": "batchot.losses",
    "GradientCache": "batchot.losses",
    "JointLoss": "batchot.losses",
    "Learner": "batchot.learner",
    "Plan": "batchot.transport",
    "batch_ot_loss": "batchot.losses",
    "cached_forward": "batchot.losses",
    "classification_scores": "batchot.evaluation",
    "ground_distance": "batchot.transport",
    "list_backbones": "batchot.models",
    "load_run": "batchot.towers.saved",
    "load_shape": "batchot.shapes.formats.read",
    "make_backbone": "batchot.models",
    "plan_report": "batchot.losses",
    "render_views": "batchot.shapes.render.render",
    "retrieval_scores": "batchot.evaluation",
    "sinkhorn": "batchot.transport",
}

__all__ = [
    "BatchOTLoss",
    "CrossModalBatchOTLoss",
    "DistributedLoss",
    "GradientCache",
    "JointLoss",
    "Learner",
    "Plan",
    "batch_ot_loss",
    "cached_forward",
    "classification_scores",
    "ground_distance",
    "list_backbones",
    "load_run",
    "load_shape",
    "make_backbone",
    "plan_report",
    "render_views",
    "retrieval_scores",
    "sinkhorn",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from batchot.errors import extras_named

        with extras_named():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'batchot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
