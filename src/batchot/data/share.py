"""Which part of every batch is this process's, where several train together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The part of one rank of N in batches that all of them hold together.

    Args:
        rank: which one, 0 .. N - 1.
        of: number of ranks, N.
        halves: the first and the second half of a batch are each spread over all ranks, so that each rank has a part
            of both in its own two halves.

    Raises:
        ValueError: when there is no such rank.

    Example:
        >>> [Share(rank, 3).rows(7).tolist() for rank in range(3)]
        [[0, 1, 2], [3, 4], [5, 6]]
        >>> [Share(rank, 2, halves=True).rows(6).tolist() for rank in range(2)]
        [[0, 1, 3, 4], [2, 5]]
    """

    rank: int = 0
    of: int = 1
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
        """Which of ``count`` batches this rank computes alone; all of them where there are fewer than ranks.

        >>> [list(Share(rank, 2).turns(5)) for rank in range(2)]
        [[0, 1, 2], [3, 4]]
        """
        if count < self.of:
            return range(count)
        start, end = (count * k // self.of + (count * k % self.of > 0) for k in (self.rank, self.rank + 1))
        return range(start, end)


WHOLE = Share()
