"""Checks of what users hand over: shapes, dtypes, finite values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def as_tensor(values: Any) -> Tensor:
    """The tensor itself; arrays and lists in the memory of the host, whatever the default device."""
    return values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")


def checked_embeddings(name: str, embeddings: Tensor) -> Tensor:
    """Return the embeddings, detached, in float32 or float64, or say what is wrong with them."""
    embeddings = as_tensor(embeddings).detach()
    if not embeddings.dtype.is_floating_point:
        raise TypeError(
            f"{name} must be floating point embeddings, got {embeddings.dtype}; convert with .float()"
        )
    if embeddings.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {tuple(embeddings.shape)}")
    if embeddings.shape[0] == 0 or embeddings.shape[1] == 0:
        raise ValueError(f"{name} is empty: shape {tuple(embeddings.shape)}")
    finite = torch.isfinite(embeddings).all(dim=1)  # (n,)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        n_bad = int((~finite).sum())
        raise ValueError(
            f"{name} has NaN or infinity in {n_bad} of {len(finite)} rows, the first is row {row}; "
            "a network that diverged does this: look at the loss and the learning rate"
        )
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


def checked_labels(name: str, labels: Tensor, length: int, of: str) -> Tensor:
    """Return the labels as int64, or say what is wrong with them."""
    labels = as_tensor(labels).detach()
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {labels.dtype}; convert with .long()")
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), one label per row, got {tuple(labels.shape)}")
    if len(labels) != length:
        raise ValueError(f"{name} has {len(labels)} entries but {of} has {length}; they must agree")
    return labels.long()


def checked_same_dimension(first_name: str, first: Tensor, second_name: str, second: Tensor) -> None:
    """Raise ValueError unless both sets of embeddings have the same number of columns."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{first_name} and {second_name} have different dimensions: "
            f"{tuple(first.shape)} and {tuple(second.shape)}; embed both with the same network"
        )
