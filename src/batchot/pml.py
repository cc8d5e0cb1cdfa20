"""The loss as one of pytorch-metric-learning's: ``from batchot.pml import BatchOTLoss``.

Importing this module imports that library and makes its wrappers take the loss. They ask for the name of its class in
a list of their own, which has no place for others.
"""

from __future__ import annotations

import functools
from typing import Any

try:
    from pytorch_metric_learning import losses
except ImportError as error:
    raise ImportError(
        f"batchot.pml needs pytorch-metric-learning ({error}): pip install 'pytorch-metric-learning>=2.9'"
    ) from error

from batchot.losses import batch_ot


class BatchOTLoss(batch_ot.BatchOTLoss, losses.BaseMetricLossFunction):
    """:class:`batchot.BatchOTLoss` that is a ``BaseMetricLossFunction`` of pytorch-metric-learning too.

    Options, calls, value and gradient are the same. What that library asks of a loss holds for this class and for its
    subclasses: they work in ``CrossBatchMemory``, ``SelfSupervisedLoss``, ``MultipleLosses`` and
    ``DistributedLossWrapper``, with every miner, and in its trainers. ``distance`` takes its distances; reducers and
    embedding regularisers are left out, as the loss is one number for a whole batch.

    Raises:
        ImportError: (on importing this module) pytorch-metric-learning is not installed.

    Example:
        >>> import torch
        >>> from pytorch_metric_learning.losses import CrossBatchMemory
        >>> from pytorch_metric_learning.miners import MultiSimilarityMiner
        >>> loss = CrossBatchMemory(BatchOTLoss(), embedding_size=4, memory_size=16, miner=MultiSimilarityMiner())
        >>> loss(torch.eye(4), torch.tensor([0, 0, 1, 1])) > 0
        tensor(True)
    """


def _admit(wrapper: Any) -> None:
    """Let a wrapper take the loss, and its subclasses, without a look at its list."""
    asking = wrapper.__init__

    @functools.wraps(asking)
    def init(self: Any, loss: Any, **options: Any) -> None:
        if isinstance(loss, batch_ot.BatchOTLoss):
            super(wrapper, self).__init__(**options)  # all that it does besides asking
        else:
            asking(self, loss, **options)

    wrapper.__init__ = init


if hasattr(losses, "BaseLossWrapper") and hasattr(losses.BaseLossWrapper, "check_loss_support"):
    _admit(losses.BaseLossWrapper)
