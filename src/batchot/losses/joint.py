"""A metric loss together with the cross-entropy of a classifier on the same embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from batchot.ranks import mean_of_all, rank_count


class JointLoss(nn.Module):
    r"""L = metric(embeddings, labels) + w * cross_entropy(logits, labels).

    The authors train so on ModelNet40 (w = 0.2) and ModelNet10 (w = 1). In a process group the cross-entropy is the
    mean over the samples of all ranks; the metric loss is to see to that itself.

    Args:
        metric: any loss called as ``metric(embeddings, labels)``.
        weight: w, at least 0.
        label_smoothing: of the cross-entropy, 0 to 1.

    Raises:
        ValueError: weight or label_smoothing out of range, or logits of another length than the labels.

    Example:
        >>> import torch
        >>> from batchot import BatchOTLoss
        >>> joint = JointLoss(BatchOTLoss(), weight=0.2)
        >>> x, labels = torch.randn(8, 16), torch.arange(8) % 2
        >>> joint(x, torch.zeros(8, 2), labels).ndim
        0
    """

    def __init__(self, metric: nn.Module, weight: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not weight >= 0.0:
            raise ValueError(f"weight must be at least 0, got {weight}.")
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing}.")
        self.metric = metric
        self.weight = weight
        self.label_smoothing = label_smoothing

    def forward(self, embeddings: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """The joint loss of embeddings (n, d) and logits (n, classes) with labels (n,) in 0 .. classes - 1."""
        if logits.ndim != 2 or len(logits) != len(labels):
            raise ValueError(f"logits must have shape ({len(labels)}, classes), got {tuple(logits.shape)}.")
        entropy = mean_cross_entropy(logits, labels, self.label_smoothing)
        joint: Tensor = self.metric(embeddings, labels) + self.weight * entropy
        return joint


def mean_cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy in float32 or float64, the mean over the samples of all ranks (`batchot.ranks.mean_of_all`)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    with torch.autocast(logits.device.type, enabled=False):
        if rank_count() == 1:
            return nn.functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        total = nn.functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum")
        return mean_of_all(total, len(labels))
