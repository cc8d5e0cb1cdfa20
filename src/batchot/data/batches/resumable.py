"""Batches ahead of time, and a loader that goes on where it stopped."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, Self, TypeVar

T = TypeVar("T")


def prefetch(jobs: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Results of ``jobs`` in their order, computed by a thread that is up to ``ahead`` jobs in front."""
    if ahead < 1:
        raise ValueError(f"ahead must be at least 1, got {ahead}")
    return _prefetch(iter(jobs), ahead)


def _prefetch(jobs: Iterator[Callable[[], T]], ahead: int) -> Iterator[T]:
    # One thread: batches are made in order, and two would not be faster beside a network that uses all cores.
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque[Future[T]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


Indices = TypeVar("Indices")
Batch = TypeVar("Batch")


class ResumableBatches(ABC, Generic[Indices, Batch]):
    """Batches of which number ``k`` of epoch ``e`` depends on ``(seed, e, k)`` and on nothing before it."""

    def __init__(self, *, seed: int = 0, ahead: int = 2) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        if ahead < 0:
            raise ValueError(f"ahead must be at least 0, got {ahead}")
        self.seed = seed
        self.ahead = ahead
        self.waited = 0.0
        self._epoch = 0
        self._batch = 0  # number of batches of the epoch that have been handed out
        self._resumed = False

    @abstractmethod
    def __len__(self) -> int:
        """Number of batches in an epoch."""

    @abstractmethod
    def _order(self, epoch: int) -> Sequence[Indices]:
        """What goes into each batch of an epoch."""

    @abstractmethod
    def _make(self, indices: Indices, epoch: int, k: int) -> Batch:
        """Batch ``k`` of an epoch."""

    @property
    def sampler(self) -> Self:
        """Itself: Lightning calls ``set_epoch`` of what it finds here before each epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of ``epoch``, from its beginning unless it is to be resumed within it."""
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        if epoch != self._epoch or not self._resumed:
            self._epoch, self._batch, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the number of its batches that have been handed out."""
        return {"epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Go on from a state that :meth:`state_dict` gave, with the next pass."""
        epoch, batch = state_dict["epoch"], state_dict["batch"]
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ValueError(
                f"cannot go on from batch {batch} of epoch {epoch}: an epoch has {len(self)} batches here; "
                "the data or the batch size are not those of the run that is resumed"
            )
        self._epoch, self._batch, self._resumed = epoch, batch, True

    def __iter__(self) -> Iterator[Batch]:
        # The body runs at the first batch, not at iter(): set_epoch and load_state_dict may come in between.
        over = self._batch == len(self) if self._resumed else self._batch > 0
        if over:
            self._epoch += 1
        start = self._batch if self._resumed and not over else 0
        epoch, self._resumed = self._epoch, False
        order = self._order(epoch)
        jobs = (partial(self._make, indices, epoch, k) for k, indices in enumerate(order[start:], start))
        batches = prefetch(jobs, self.ahead) if self.ahead else (job() for job in jobs)
        for k in range(start, len(order)):
            asked = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - asked
            # Only what has been handed out counts: what was made ahead is made again after a resume.
            self._epoch, self._batch = epoch, k + 1
            yield batch
