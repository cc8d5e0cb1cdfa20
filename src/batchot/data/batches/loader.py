"""Loaders of batches: a pass that can be resumed, one data set, several joined."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from batchot.data.augment.images import Normalization
from batchot.data.augment.strokes import fresh_batch
from batchot.data.batches.samplers import Epochs, Sources, generator_for
from batchot.data.samples import WHOLE, Samples, Share, check_labels
from batchot.errors import DataError

T = TypeVar("T")


def prefetch(jobs: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Results of ``jobs`` in their order, computed by a thread that is up to ``ahead`` jobs in front."""
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

    def __init__(self, sampler: Epochs[Indices], seed: int, ahead: int, share: Share) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.batch_sampler = sampler
        self.seed = seed
        self.ahead = ahead  # batches that are made before they are asked for
        self.share = share  # the part of each batch that is given
        self.waited = 0.0
        self._epoch = 0
        self._batch = 0  # number of batches of the epoch that have been handed out
        self._resumed = False

    def __len__(self) -> int:
        return len(self.batch_sampler)

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
        order = self.batch_sampler.epoch(self.seed, epoch)
        jobs = (partial(self._make, indices, epoch, k) for k, indices in enumerate(order[start:], start))
        batches = prefetch(jobs, self.ahead) if self.ahead else (job() for job in jobs)
        for k in range(start, len(order)):
            asked = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - asked
            # Only what has been handed out counts: what was made ahead is made again after a resume.
            self._epoch, self._batch = epoch, k + 1
            yield batch


Augment = Callable[[Tensor, torch.Generator, Tensor | None], Tensor]


@dataclass(frozen=True)
class Preparation:
    """Augmentation, projection and normalisation, in this order."""

    # of pixels; ``None`` for point clouds, whose coordinates are taken as they are
    normalization: Normalization | None
    augmentation: Augment | None = None  # random changes of training samples
    # from point clouds to views; ``None`` where samples are what the network sees
    projection: Callable[[Tensor], Tensor] | None = None
    partial: float = 0.0  # share of the training drawings that are not finished yet, see ``fresh_batch``

    def __call__(
        self, samples: Tensor, generator: torch.Generator | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """Samples ``(b, ...)`` for the network; augmented only where a ``generator`` is given."""
        if self.augmentation is not None and generator is not None:
            fill = None if self.normalization is None else self.normalization.fill
            samples = self.augmentation(samples, generator, fill)
        if rows is not None:
            samples = samples[rows]
        return self.finish(self.project(samples))

    def training(
        self, samples: Samples, indices: Tensor, generator: torch.Generator, share: Share
    ) -> tuple[Tensor, Tensor]:
        """Samples and labels of this process's share of a training batch."""
        rows = None if share.of == 1 else share.rows(len(indices))
        labels = samples.labels[indices if rows is None else indices[rows]]
        # augmented as a whole: what is drawn for a sample does not depend on the number of processes
        return self(fresh_batch(samples, indices, generator, self.partial), generator, rows), labels

    def project(self, samples: Tensor) -> Tensor:
        """What is seen of ``samples``: their views where they are point clouds that are to be seen."""
        return samples if self.projection is None else self.projection(samples)

    def finish(self, samples: Tensor) -> Tensor:
        """Projected ``samples``, normalised."""
        return samples if self.normalization is None else self.normalization(samples)


class TrainingBatches(ResumableBatches[Tensor, tuple[Tensor, Tensor]]):
    """Training batches, of which a sampler says what goes into each."""

    def __init__(
        self,
        samples: Samples,
        sampler: Epochs[Tensor],
        prepare: Preparation,
        *,
        seed: int = 0,
        ahead: int = 2,
        share: Share = WHOLE,
    ) -> None:
        super().__init__(sampler, seed, ahead, share)
        self.samples = samples
        self.prepare = prepare

    def _make(self, indices: Tensor, epoch: int, k: int) -> tuple[Tensor, Tensor]:
        generator = generator_for("augmentation", self.seed, epoch, k)
        return self.prepare.training(self.samples, indices, generator, self.share)


class EvaluationBatches:
    """All samples in their order, prepared but not augmented, the last batch as large as what is left."""

    def __init__(
        self, samples: Samples, prepare: Preparation, batch_size: int = 500, share: Share = WHOLE
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.samples = samples
        self.prepare = prepare
        self.batch_size = batch_size
        self.share = share

    def _turns(self) -> range:
        return self.share.turns(-(-len(self.samples) // self.batch_size))

    def __len__(self) -> int:
        return len(self._turns())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        batches = torch.arange(len(self.samples)).split(self.batch_size)
        for k in self._turns():
            indices = batches[k]
            yield self.prepare(self.samples.batch(indices)), self.samples.labels[indices]


@dataclass(frozen=True, eq=False)
class Joined:
    """The samples of one set, then those of another: same classes, same shape."""

    first: Samples  # its samples come first
    second: Samples  # its samples come after them
    labels: Tensor = None  # type: ignore[assignment]  # (n,) int64
    classes: tuple[str, ...] = ()  # name of each class; empty: as the two sets have them
    at: Tensor | None = None  # (n,) int64
    # by which shares samplers are to draw from the sets; ``None``: all samples are alike to them
    sources: Sources | None = None

    def __post_init__(self) -> None:
        first, second = self.first, self.second
        if first.sample_shape != second.sample_shape:
            raise DataError(
                f"samples of {first.sample_shape} and of {second.sample_shape} cannot be joined; they must agree"
            )
        if self.labels is None:
            if first.classes != second.classes:
                raise DataError(f"classes differ and cannot be joined: {first.classes}, {second.classes}")
            object.__setattr__(self, "labels", torch.cat([first.labels, second.labels]))
            object.__setattr__(self, "classes", first.classes)
        check_labels(self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        if not (self.first.names and self.second.names):
            return ()
        both = self.first.names + self.second.names
        return both if self.at is None else tuple(both[k] for k in self.at.tolist())

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.first.sample_shape

    def batch(self, indices: Tensor) -> Tensor:
        return self._from_both(indices, lambda samples, at: samples.batch(at))

    def draw(self, indices: Tensor, generator: torch.Generator, partial: float = 0.0) -> Tensor:
        """The same, with known strokes drawn anew by :func:`~batchot.data.augment.strokes.fresh_batch`."""
        return self._from_both(indices, lambda samples, at: fresh_batch(samples, at, generator, partial))

    def _from_both(self, indices: Tensor, read: Callable[[Samples, Tensor], Tensor]) -> Tensor:
        indices = indices if self.at is None else self.at[indices]
        n = len(self.first)
        late = indices >= n
        if not bool(late.any()):
            return read(self.first, indices)
        if bool(late.all()):
            return read(self.second, indices - n)
        parts = (read(self.first, indices[~late]), read(self.second, indices[late] - n))
        out = parts[0].new_empty((len(indices), *parts[0].shape[1:]))
        out[~late], out[late] = parts
        return out

    def subset(self, indices: Tensor) -> Joined:
        at = indices if self.at is None else self.at[indices]
        sources = None if self.sources is None else replace(self.sources, of=self.sources.of[indices])
        return replace(self, labels=self.labels[indices], at=at, sources=sources)


def mix(parts: Sequence[Samples], shares: Sequence[float]) -> Samples:
    """Several sets as one, from which samplers draw by the shares of each."""
    joined: Samples = reduce(Joined, parts)
    if not isinstance(joined, Joined):
        return joined
    of = torch.cat([torch.full((len(part),), k) for k, part in enumerate(parts)])
    return replace(joined, sources=Sources(of, tuple(float(share) for share in shares)))


def sources_of(samples: Samples) -> Sources | None:
    """Which source each of the samples is of, where they are mixed; None otherwise."""
    return samples.sources if isinstance(samples, Joined) else None
