"""What every data set gives: samples with class labels, and how labels are checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, Protocol, Self, TypeVar

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
    """Labelled samples that are read a batch at a time."""

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


S = TypeVar("S", bound=Samples)


class InMemory:
    """Base of a dataclass with samples in one tensor, their labels, classes and names, in this order."""

    labels: Tensor
    classes: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def _samples(self) -> Tensor:
        samples: Tensor = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        return samples

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self._samples.shape[1:])

    def batch(self, indices: Tensor) -> Tensor:
        return self._samples.index_select(0, indices)

    def subset(self, indices: Tensor) -> Self:
        names = tuple(self.names[k] for k in indices.tolist()) if self.names else ()
        make: Any = type(self)
        subset: Self = make(self._samples[indices], self.labels[indices], self.classes, names)
        return subset


@dataclass(frozen=True, eq=False)
class Images(InMemory):
    """Labelled 8-bit images of one size."""

    images: Tensor  # (n, c, h, w) uint8
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]  # name of each class
    names: tuple[str, ...] = ()  # what each image is called; empty where they have no names

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise DataError(
                "images must be uint8 of shape (n, c, h, w), "
                f"got {self.images.dtype} {tuple(self.images.shape)}"
            )
        check_labels(self.labels, self.classes)
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{len(self.images):,} images but {len(self.labels):,} labels; there must be one for each"
            )
        if self.names and len(self.names) != len(self.labels):
            raise DataError(f"{len(self.labels):,} images but {len(self.names):,} names; give one for each")


@dataclass(frozen=True, eq=False)
class Splits(Generic[S]):
    """A data set divided into training and test samples of the same classes and shape."""

    name: str  # the data set, such as ``"mnist"``
    train: S  # to learn from
    test: S  # to measure on

    def __post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            raise DataError(
                f"{self.name}: training and test classes differ: {self.train.classes}, {self.test.classes}"
            )
        if self.train.sample_shape != self.test.sample_shape:
            raise DataError(
                f"{self.name}: training samples are {self.train.sample_shape}, "
                f"test samples {self.test.sample_shape}; they must agree"
            )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of every sample: (c, h, w) of images, (v, c, h, w) of views, (p, 3) of point clouds."""
        return self.train.sample_shape


def held_out(splits: Splits[S], share: float) -> Splits[S]:
    """Replace the test samples by the last training samples of each class, this share of them, rounded up.

    The last ones and not random ones: collections such as ModelNet list near copies of a shape one after the other,
    and a copy of a training shape in the validation part makes every choice look better than it is.
    """
    train = splits.train
    kept, taken = [], []
    for label in range(len(train.classes)):
        members = (train.labels == label).nonzero().flatten()
        n = min(math.ceil(share * len(members)), max(len(members) - 1, 0))
        kept.append(members[: len(members) - n])
        taken.append(members[len(members) - n :])
    train_at, test_at = torch.cat(kept).sort().values, torch.cat(taken).sort().values
    if len(train_at) == 0 or len(test_at) == 0:
        raise DataError(
            f"{splits.name}: holding out {share:g} of {len(train):,} training samples leaves {len(train_at):,} to "
            f"train and {len(test_at):,} to measure on; set data.validation=0 or add samples"
        )
    return Splits(splits.name, train.subset(train_at), train.subset(test_at))
