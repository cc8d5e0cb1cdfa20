"""Which samples make a batch, from a seed."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor


def generator_for(purpose: str, *key: int) -> torch.Generator:
    """A random number generator that depends on ``purpose`` and ``key`` alone."""
    if any(number < 0 for number in key):
        raise ValueError(f"seed, epoch and batch must be at least 0, got {key}")
    # SeedSequence spreads the key over all bits: neighbouring seeds give unrelated streams.
    entropy = [zlib.crc32(purpose.encode()), len(key), *key]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


Groups = tuple[tuple[Tensor, float], ...]
"""Indices of the samples of each source, and its share; the sources in their order."""


@dataclass(frozen=True, eq=False)
class Sources:
    """Where samples come from, and in which shares they are drawn from there."""

    of: Tensor  # (n,) int64
    # of each source among the samples that are drawn, greater than 0; only how they compare to each other counts. A
    # class that not every source has is drawn from those that have it
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(share > 0 and math.isfinite(share) for share in self.shares):
            raise ValueError(f"shares must be positive numbers, got {self.shares}")
        if len(self.of) and not 0 <= int(self.of.min()) <= int(self.of.max()) < len(self.shares):
            raise ValueError(f"every source needs a share, got {len(self.shares)} shares")

    def groups(self, members: Tensor) -> Groups:
        """Divide some samples (indices) by where they come from."""
        of = self.of[members]
        found = ((members[of == k], share) for k, share in enumerate(self.shares))
        return tuple((items, share) for items, share in found if len(items))


def grouped(members: Tensor, sources: Sources | None) -> Groups:
    """Some samples (indices) by where they come from; one group where that does not matter."""
    return ((members, 1.0),) if sources is None else sources.groups(members)


def drawn_once(groups: Groups) -> float:
    """How many samples must be drawn until each of the first source has been drawn once."""
    return len(groups[0][0]) * sum(share for _, share in groups) / groups[0][1]


def draw_by_share(groups: Groups, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """Draw rows as :func:`draw_in_turns` does, from several groups of items by their shares."""
    if len(groups) == 1:
        return draw_in_turns(groups[0][0], lengths, generator)
    total = int(lengths.sum())
    row = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    shares = torch.tensor([share for _, share in groups], dtype=torch.float64)
    places = torch.arange(total, dtype=torch.float64) * ((math.sqrt(5) - 1) / 2)
    places = (places + torch.rand((), generator=generator, dtype=torch.float64)) % 1.0
    group = torch.searchsorted((shares / shares.sum()).cumsum(0), places, right=True).clamp(
        max=len(groups) - 1
    )
    drawn = torch.empty(total, dtype=torch.int64)
    for k, (items, _) in enumerate(groups):
        here = group == k
        drawn[here] = draw_in_turns(items, row[here].bincount(minlength=len(lengths)), generator)
    return drawn


Drawn = TypeVar("Drawn", covariant=True)


class Epochs(Protocol[Drawn]):
    """Says which samples go into the batches of an epoch."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, seed: int, epoch: int) -> tuple[Drawn, ...]:
        """Indices of each batch, int64, each of shape ``(batch_size,)``, of one set or by tower."""


BatchSampler = Epochs[Tensor]


class PlainBatches:
    """A permutation of all samples in every epoch, cut into batches."""

    def __init__(
        self, n: int, batch_size: int, drop_last: bool = True, sources: Sources | None = None
    ) -> None:
        _check_batch_size(n, batch_size, smallest=batch_size if drop_last else 1)
        self.groups = None if sources is None else grouped(torch.arange(n), sources)
        self.n = n if self.groups is None else max(round(drawn_once(self.groups)), batch_size)
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __len__(self) -> int:
        return self.n // self.batch_size if self.drop_last else -(-self.n // self.batch_size)

    def epoch(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        generator = generator_for("plain batches", seed, epoch)
        if self.groups is None:
            order = torch.randperm(self.n, generator=generator)
        else:
            lengths = torch.tensor([len(k) for k in torch.arange(self.n).split(self.batch_size)])
            order = draw_by_share(self.groups, lengths, generator)
        return order.split(self.batch_size)[: len(self)]


class BalancedBatches:
    """Batches of equally many samples from each of several classes, so that every batch has positive pairs.

    Classes take turns, and the samples of a class do: no class is drawn ``k + 1`` times in an epoch before every class
    was drawn ``k`` times, and likewise no sample of a class. Within a batch the classes alternate (a, b, c, a, b, c),
    so that halves of a batch are balanced too, and no sample is twice in it unless its class is smaller than its share.
    """

    def __init__(
        self, labels: Tensor, batch_size: int, classes_per_batch: int, sources: Sources | None = None
    ) -> None:
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
        self.members = tuple(grouped(torch.where(labels == label)[0], sources) for label in present.tolist())
        self.batch_size = batch_size
        self.classes_per_batch = classes_per_batch
        self.n = max(round(sum(drawn_once(members) for members in self.members)), batch_size)

    def __len__(self) -> int:
        return self.n // self.batch_size

    def epoch(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        generator = generator_for("balanced batches", seed, epoch)
        share = self.batch_size // self.classes_per_batch
        everyone = grouped(torch.arange(len(self.members)), None)
        turns = _in_turns(everyone, len(self), self.classes_per_batch, generator)
        batches = torch.empty(len(self), share, self.classes_per_batch, dtype=torch.int64)
        for c, members in enumerate(self.members):
            batch, place = torch.where(turns == c)
            batches[batch, :, place] = _in_turns(members, len(batch), share, generator)
        return batches.flatten(1).unbind()


def _in_turns(groups: Groups, rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw ``(rows, columns)`` of the items, one permutation of all of them after the other."""
    lengths = torch.full((rows,), columns, dtype=torch.int64)
    return draw_by_share(groups, lengths, generator).view(rows, columns)


def draw_in_turns(items: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """Draw rows of ``items``, one permutation of all of them after the other."""
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
