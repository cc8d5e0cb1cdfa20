"""Batches for training, which can be resumed anywhere, and for evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from batchot.data.prefetch import prefetch
from batchot.data.prepare import Preparation
from batchot.data.samplers import BatchSampler
from batchot.data.samples import Samples
from batchot.data.seeding import generator_for


class TrainingBatches:
    """Training batches; batch ``k`` of epoch ``e`` depends on ``(seed, e, k)`` and on nothing before it.

    Every pass is the next epoch, starting at 0; :meth:`set_epoch` chooses another. A pass that was begun is
    over when the next one begins. :meth:`state_dict` says how far the batches have been handed out, and after
    :meth:`load_state_dict` the next pass goes on from there: Lightning saves and restores it with its
    checkpoints.

    The next batches are read and augmented by a thread while the network is at work on this one;
    :attr:`waited` says how long training had to wait for data nevertheless.

    Args:
        samples: the training samples.
        sampler: which of them go into which batch.
        prepare: augmentation and normalisation.
        seed: of the sampler and the augmentation.
        ahead: batches that are made ahead; 0 makes each when it is asked for.

    Attributes:
        waited: seconds that the reader has waited for batches so far.

    Raises:
        ValueError: on a negative seed or a negative number of batches ahead.

    Example:
        >>> from batchot.data import Normalization, PlainBatches, Preparation, TrainingBatches, load_digits
        >>> train = load_digits().train
        >>> prepare = Preparation(Normalization.from_pixels(train.images))
        >>> batches = TrainingBatches(train, PlainBatches(len(train), 64), prepare)
        >>> x, y = next(iter(batches))
        >>> x.shape, y.shape, len(batches), batches.state_dict()
        (torch.Size([64, 1, 8, 8]), torch.Size([64]), 20, {'epoch': 0, 'batch': 1})
    """

    def __init__(
        self,
        samples: Samples,
        sampler: BatchSampler,
        prepare: Preparation,
        *,
        seed: int = 0,
        ahead: int = 2,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        if ahead < 0:
            raise ValueError(f"ahead must be at least 0, got {ahead}")
        self.samples = samples
        self.batch_sampler = sampler
        self.prepare = prepare
        self.seed = seed
        self.ahead = ahead
        self.waited = 0.0
        self._epoch = 0
        self._batch = 0  # number of batches of the epoch that have been handed out
        self._resumed = False

    def __len__(self) -> int:
        return len(self.batch_sampler)

    @property
    def sampler(self) -> TrainingBatches:
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

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
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

    def _make(self, indices: Tensor, epoch: int, k: int) -> tuple[Tensor, Tensor]:
        generator = generator_for("augmentation", self.seed, epoch, k)
        return self.prepare(self.samples.batch(indices), generator), self.samples.labels[indices]


class EvaluationBatches:
    """All samples in their order, prepared but not augmented, the last batch as large as what is left.

    Args:
        samples: the samples.
        prepare: the normalisation that training used.
        batch_size: samples in a batch.

    Raises:
        ValueError: when ``batch_size`` is below 1.

    Example:
        >>> from batchot.data import EvaluationBatches, Normalization, Preparation, load_digits
        >>> splits = load_digits()
        >>> prepare = Preparation(Normalization.from_pixels(splits.train.images))
        >>> [len(y) for x, y in EvaluationBatches(splits.test, prepare, batch_size=200)]
        [200, 200, 100]
    """

    def __init__(self, samples: Samples, prepare: Preparation, batch_size: int = 500) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.samples = samples
        self.prepare = prepare
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for indices in torch.arange(len(self.samples)).split(self.batch_size):
            yield self.prepare(self.samples.batch(indices)), self.samples.labels[indices]
