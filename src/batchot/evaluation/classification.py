"""Accuracy over samples and over classes, and the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from batchot.evaluation.checks import as_tensor, checked_labels


@dataclass(frozen=True, eq=False)
class ClassificationScores:
    """How well classes were told apart, as fractions; tensors are on the CPU."""

    accuracy: float  # over samples
    class_accuracy: float  # mean over the classes that occur among the labels
    per_class: Tensor = field(repr=False)  # (n_classes,) float64, NaN for a class that does not occur
    counts: Tensor = field(repr=False)  # the confusion matrix, sparse: only the pairs that occur take memory

    @property
    def confusion(self) -> Tensor:
        """The confusion matrix, ``(n_classes, n_classes)`` int64 counts, row: true class, column: predicted."""
        return self.counts.to_dense()

    def to_dict(self) -> dict[str, float]:
        """Return what is one number, by name: what loggers take."""
        return {"accuracy": self.accuracy, "class_accuracy": self.class_accuracy}


def classification_scores(predictions: Tensor, labels: Tensor, n_classes: int) -> ClassificationScores:
    r"""Score predicted classes against the true ones.

    :math:`accuracy = \frac1n \sum_i [p_i = y_i]`; class accuracy is the mean over classes of the same within
    a class (the recall of the class), so that small classes weigh as much as large ones.

    Args:
        predictions: ``(n,)`` integers from 0 to n_classes - 1.
        labels: ``(n,)`` integers from 0 to n_classes - 1, the truth.
        n_classes: number of classes, those included that do not occur.

    Returns:
        ClassificationScores: a class without samples is NaN in ``per_class`` and not in ``class_accuracy``.

    Raises:
        TypeError: predictions or labels are not integers.
        ValueError: no samples, different lengths, or a class out of range.

    Example:
        >>> predictions, labels = torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 0, 1])
        >>> scores = classification_scores(predictions, labels, n_classes=3)
        >>> scores.accuracy, round(scores.class_accuracy, 4)
        (0.5, 0.6667)
        >>> scores.confusion
        tensor([[1, 2, 0],
                [0, 1, 0],
                [0, 0, 0]])
    """
    if n_classes < 1:
        raise ValueError(f"n_classes must be positive, got {n_classes}")
    labels = as_tensor(labels)
    labels = checked_labels("labels", labels, labels.shape[0] if labels.ndim else 0, "labels")
    predictions = checked_labels("predictions", predictions, len(labels), "labels").to(labels.device)
    if len(labels) == 0:
        raise ValueError("labels is empty: there is nothing to score")
    for name, classes in (("predictions", predictions), ("labels", labels)):
        outside = (classes < 0) | (classes >= n_classes)
        if bool(outside.any()):
            row = int(outside.nonzero()[0])
            raise ValueError(f"{name} must be from 0 to {n_classes - 1}; entry {row} is {int(classes[row])}")
    occurring, n = torch.stack([labels, predictions]).cpu().unique(dim=1, return_counts=True)  # (2, p), (p,)
    counts = torch.sparse_coo_tensor(
        occurring, n, (n_classes, n_classes), device="cpu", check_invariants=True, is_coalesced=True
    )
    right = labels[labels == predictions]
    n_right = torch.bincount(right, minlength=n_classes).cpu()
    # 0 / 0 is the NaN of an absent class
    per_class = n_right.double() / torch.bincount(labels, minlength=n_classes).cpu()
    return ClassificationScores(
        accuracy=len(right) / len(labels),
        class_accuracy=float(per_class.nanmean()),
        per_class=per_class,
        counts=counts,
    )
