"""Passes over batches that can be resumed anywhere, whatever a batch is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Generic, Self, TypeVar

from batchot.data.prefetch import prefetch

Indices = TypeVar("Indices")
Batch = TypeVar("Batch")


class ResumableBatches(ABC, Generic[Indices, Batch]):
    """Batches of which number ``k`` of epoch ``e`` depends on ``(seed, e, k)`` and on nothing before it.

    Every pass is the next epoch, starting at 0; :meth:`set_epoch` chooses another. A pass that was begun is
    over when the next one begins. :meth:`state_dict` says how far the batches have been handed out, and after
    :meth:`load_state_dict` the next pass goes on from there: Lightning saves and restores it with its
    checkpoints.

    The next batches are made by a thread while the network is at work on this one; :attr:`waited` says how
    long training had to wait for data nevertheless.

    Args:
        seed: of what is drawn by chance.
        ahead: batches that are made ahead; 0 makes each when it is asked for.

    Attributes:
        waited: seconds that the reader has waited for batches so far.

    Raises:
        ValueError: on a negative seed or a negative number of batches ahead.
    """

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
        """Go on from a state that :meth:`state_dict` gave, with the next pass.

        Raises:
            ValueError: when the state is of a loader with fewer batches in an epoch than it has handed out.
        """
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
