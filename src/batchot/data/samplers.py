"""Which images go into which batch: pure functions of seed and epoch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from batchot.data.seeding import generator_for


class BatchSampler(Protocol):
    """What :class:`~batchot.data.TrainingBatches` asks of a sampler."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """Indices of each batch of an epoch, int64, each of shape ``(batch_size,)``."""


class PlainBatches:
    """A permutation of all samples in every epoch, cut into batches.

    Args:
        n: number of samples.
        batch_size: samples in a batch.
        drop_last: leave out the last batch of an epoch where it would be smaller than the others.

    Raises:
        ValueError: when ``batch_size`` is below 1, or ``n`` is too small for one batch.

    Example:
        >>> from batchot.data import PlainBatches
        >>> sampler = PlainBatches(n=10, batch_size=4)
        >>> len(sampler), [len(batch) for batch in sampler.epoch(seed=0, epoch=0)]
        (2, [4, 4])
    """

    def __init__(self, n: int, batch_size: int, drop_last: bool = True) -> None:
        _check_batch_size(n, batch_size, smallest=batch_size if drop_last else 1)
        self.n = n
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __len__(self) -> int:
        return self.n // self.batch_size if self.drop_last else -(-self.n // self.batch_size)

    def epoch(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """Indices of each batch of an epoch; every sample is in one, or in the last that was left out."""
        order = torch.randperm(self.n, generator=generator_for("plain batches", seed, epoch))
        return order.split(self.batch_size)[: len(self)]


class BalancedBatches:
    """Batches of equally many samples from each of several classes, so that every batch has positive pairs.

    Classes take turns, and the samples of a class do: no class is drawn ``k + 1`` times in an epoch before
    every class was drawn ``k`` times, and likewise no sample of a class. A small class therefore comes round
    more often than a large one. Within a batch the classes alternate (a, b, c, a, b, c, ...), so that halves
    of a batch are balanced too, and no sample is twice in a batch unless its class is smaller than its share
    of the batch.

    Args:
        labels: class of each sample, int64, shape ``(n,)``.
        batch_size: samples in a batch, a multiple of ``classes_per_batch``.
        classes_per_batch: different classes in a batch, at most as many as there are.

    Raises:
        ValueError: on labels that are not a vector, sizes that do not divide, more classes than there are,
            too few samples for one batch.

    Example:
        >>> import torch
        >>> from batchot.data import BalancedBatches
        >>> labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 3)
        >>> sampler = BalancedBatches(labels, batch_size=6, classes_per_batch=3)
        >>> [labels[batch].bincount().tolist() for batch in sampler.epoch(seed=0, epoch=0)]
        [[2, 2, 2], [2, 2, 2]]
    """

    def __init__(self, labels: Tensor, batch_size: int, classes_per_batch: int) -> None:
        if labels.ndim != 1:
            raise ValueError(f"labels must have shape (n,), got {tuple(labels.shape)}")
        _check_batch_size(len(labels), batch_size, smallest=batch_size)
        present = labels.unique()
        if not 1 <= classes_per_batch <= len(present):
            raise ValueError(
                f"classes_per_batch must lie in 1 .. {len(present)}, the number of classes, "
                f"got {classes_per_batch}"
            )
        if batch_size % classes_per_batch:
            raise ValueError(
                f"batch_size {batch_size} is no multiple of classes_per_batch {classes_per_batch}; "
                f"nearest are {batch_size - batch_size % classes_per_batch or classes_per_batch} and "
                f"{batch_size - batch_size % classes_per_batch + classes_per_batch}"
            )
        self.members = tuple(torch.where(labels == label)[0] for label in present.tolist())
        self.batch_size = batch_size
        self.classes_per_batch = classes_per_batch
        self.n = len(labels)

    def __len__(self) -> int:
        return self.n // self.batch_size

    def epoch(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """Indices of each batch of an epoch."""
        generator = generator_for("balanced batches", seed, epoch)
        share = self.batch_size // self.classes_per_batch
        turns = _in_turns(torch.arange(len(self.members)), len(self), self.classes_per_batch, generator)
        batches = torch.empty(len(self), share, self.classes_per_batch, dtype=torch.int64)
        for c, members in enumerate(self.members):
            batch, place = torch.where(turns == c)
            batches[batch, :, place] = _in_turns(members, len(batch), share, generator)
        return batches.flatten(1).unbind()


def _in_turns(items: Tensor, rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw ``(rows, columns)`` of ``items``, one permutation of all of them after the other.

    No item is twice in a row of the result where there are at least as many items as columns.
    """
    lengths = torch.full((rows,), columns, dtype=torch.int64)
    return draw_in_turns(items, lengths, generator).view(rows, columns)


def draw_in_turns(items: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """Draw rows of ``items``, one permutation of all of them after the other.

    No item is twice in a row where there are at least as many items as the row is long.

    Args:
        items: what to draw from, shape ``(n,)``.
        lengths: of the rows, int64, shape ``(rows,)``.
        generator: of the permutations.

    Returns:
        The rows, one after the other, shape ``(lengths.sum(),)``.

    Example:
        >>> import torch
        >>> from batchot.data.samplers import draw_in_turns
        >>> drawn = draw_in_turns(torch.arange(5), torch.tensor([3, 4, 3]), torch.Generator().manual_seed(0))
        >>> drawn.bincount().tolist(), len(set(drawn[3:7].tolist()))
        ([2, 2, 2, 2, 2], 4)
    """
    n = len(items)
    ends = lengths.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    drawn = torch.empty(0, dtype=torch.int64)
    parts: list[Tensor] = []
    for start in range(0, total, n):
        order = torch.randperm(n, generator=generator)
        row = int(torch.searchsorted(ends, start, right=True))
        overhang = start - int(ends[row] - lengths[row])
        if parts and overhang and n >= int(lengths[row]):
            # The row that the last permutation left unfinished is finished with items that it has not yet.
            in_row = torch.isin(order, drawn[-overhang:])
            order = torch.cat([order[~in_row], order[in_row]])
        parts.append(order)
        drawn = order
    return items[torch.cat(parts)[:total]] if parts else items[:0]


def _check_batch_size(n: int, batch_size: int, smallest: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if n < smallest or n < 1:
        raise ValueError(f"{n} samples are too few for one batch of {batch_size}")
