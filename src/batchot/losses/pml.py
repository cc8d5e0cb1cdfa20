"""The loss as pytorch-metric-learning's own kind, so that its wrappers, which ask for that, take it."""

from __future__ import annotations

from pytorch_metric_learning.losses import BaseMetricLossFunction, CrossBatchMemory

from batchot.losses import batch_ot


class BatchOTLoss(batch_ot.BatchOTLoss, BaseMetricLossFunction):
    """:class:`batchot.BatchOTLoss` that is an instance of ``BaseMetricLossFunction`` too.

    Nobody needs to name it: ``batchot.BatchOTLoss(...)`` makes one wherever pytorch-metric-learning was imported.
    """


def _register() -> None:
    # CrossBatchMemory admits losses by the name of their class, from a list that it offers no way to extend.
    names = CrossBatchMemory.supported_losses()
    if BatchOTLoss.__name__ not in names:
        CrossBatchMemory.supported_losses = staticmethod(lambda: [*names, BatchOTLoss.__name__])


_register()
