"""What every data set gives: samples with class labels, and how labels are checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from batchot.errors import DataError


def check_labels(labels: Tensor, classes: Sequence[str]) -> None:
    """Refuse labels that are no vector of indices into the classes."""
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise DataError(f"labels must be int64 of shape (n,), got {labels.dtype} {tuple(labels.shape)}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DataError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, "
            f"but with {len(classes)} classes they must lie in 0 .. {len(classes) - 1}"
        )


@dataclass(frozen=True)
class Share:
    """The part of one rank of N in batches that all of them hold together."""

    rank: int = 0  # which one, 0 .. N - 1
    of: int = 1  # number of ranks, N
    # the first and the second half of a batch are each spread over all ranks, so that each rank has a part of both
    # in its own two halves
    halves: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.of:
            raise ValueError(f"rank must lie in 0 .. {self.of - 1}, got {self.rank}")

    def rows(self, n: int) -> Tensor:
        """Rows of this rank in a batch of ``n``, int64, in order; ranks differ by one row at most (two, in halves)."""
        rows = torch.arange(n)
        if not self.halves:
            return rows.tensor_split(self.of)[self.rank]
        return torch.cat([half.tensor_split(self.of)[self.rank] for half in rows.chunk(2)])

    def turns(self, count: int) -> range:
        """Which of ``count`` batches this rank computes alone; all of them where there are fewer than ranks."""
        if count < self.of:
            return range(count)
        start, end = (count * k // self.of + (count * k % self.of > 0) for k in (self.rank, self.rank + 1))
        return range(start, end)


WHOLE = Share()


class Samples(Protocol):
    """Labelled samples that are read a batch at a time.

    :class:`~batchot.data.Images`, :class:`~batchot.data.Views` and :class:`~batchot.data.Clouds` are such sets.
    """

    @property
    def labels(self) -> Tensor:
        """Index into ``classes`` of each sample, int64, shape ``(n,)``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each sample, empty where they have none."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample as :meth:`batch` gives it."""

    def __len__(self) -> int:
        """Number of samples."""

    def batch(self, indices: Tensor) -> Tensor:
        """The samples at ``indices`` (int64, ``(b,)``), shape ``(b, *sample_shape)``, not yet normalised."""

    def subset(self, indices: Tensor) -> Self:
        """The set of the samples at ``indices`` (int64, ``(k,)``), in that order, with the same classes."""
