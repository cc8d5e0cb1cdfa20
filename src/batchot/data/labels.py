"""What labels must be, whatever they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from batchot.data.errors import DataError


def check_labels(labels: Tensor, classes: Sequence[str]) -> None:
    """Refuse labels that are no vector of indices into the classes.

    Args:
        labels: should be int64, shape ``(n,)``.
        classes: name of each class.

    Raises:
        DataError: on another rank or dtype, or a label without a class.

    Example:
        >>> import torch
        >>> from batchot.data.labels import check_labels
        >>> check_labels(torch.tensor([0, 2]), ("cup", "pan"))
        Traceback (most recent call last):
        ...
        batchot.data.errors.DataError: labels run from 0 to 2, but with 2 classes they must lie in 0 .. 1
    """
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise DataError(f"labels must be int64 of shape (n,), got {labels.dtype} {tuple(labels.shape)}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DataError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, "
            f"but with {len(classes)} classes they must lie in 0 .. {len(classes) - 1}"
        )
