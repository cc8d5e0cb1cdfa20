"""Batches of prepared samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.data.augment.images import Normalization
from batchot.data.augment.strokes import fresh_batch
from batchot.data.batches.resumable import ResumableBatches
from batchot.data.batches.samplers import BatchSampler, generator_for
from batchot.data.labels import WHOLE, Share
from batchot.data.samples import Samples

Augment = Callable[[Tensor, torch.Generator, Tensor | None], Tensor]


@dataclass(frozen=True)
class Preparation:
    """Augmentation, projection and normalisation, in this order.

    Args:
        normalization: of pixels; ``None`` for point clouds, whose coordinates are taken as they are.
        augmentation: random changes of training samples; ``None`` for none.
        projection: makes views of point clouds; ``None`` where samples are what the network sees.
        partial: share of the training drawings that are not finished yet, see
            :func:`~batchot.data.augment.strokes.fresh_batch`, by which loaders read.

    Example:
        >>> import torch
        >>> from batchot.data import Normalization, Preparation
        >>> prepare = Preparation(Normalization((0.5,), (0.5,)))
        >>> prepare(torch.full((1, 1, 1, 2), 255, dtype=torch.uint8)).tolist()
        [[[[1.0, 1.0]]]]
    """

    normalization: Normalization | None
    augmentation: Augment | None = None
    projection: Callable[[Tensor], Tensor] | None = None
    partial: float = 0.0

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

    def project(self, samples: Tensor) -> Tensor:
        """What is seen of ``samples``: their views where they are point clouds that are to be seen."""
        return samples if self.projection is None else self.projection(samples)

    def finish(self, samples: Tensor) -> Tensor:
        """Projected ``samples``, normalised."""
        return samples if self.normalization is None else self.normalization(samples)


class TrainingBatches(ResumableBatches[Tensor, tuple[Tensor, Tensor]]):
    """Training batches; batch ``k`` of epoch ``e`` depends on ``(seed, e, k)`` and on nothing before it.

    Passes are resumed and made ahead as :class:`~batchot.data.batches.resumable.ResumableBatches` says.

    Args:
        samples: the training samples.
        sampler: which of them go into which batch.
        prepare: augmentation and normalisation.
        seed: of the sampler and the augmentation.
        ahead: batches that are made ahead; 0 makes each when it is asked for.
        share: which part of each batch is given, where several processes train together.

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
        share: Share = WHOLE,
    ) -> None:
        super().__init__(seed=seed, ahead=ahead)
        self.share = share
        self.samples = samples
        self.batch_sampler = sampler
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def _order(self, epoch: int) -> Sequence[Tensor]:
        return self.batch_sampler.epoch(self.seed, epoch)

    def _make(self, indices: Tensor, epoch: int, k: int) -> tuple[Tensor, Tensor]:
        generator = generator_for("augmentation", self.seed, epoch, k)
        rows = None if self.share.of == 1 else self.share.rows(len(indices))
        labels = self.samples.labels[indices if rows is None else indices[rows]]
        # augmented as a whole: what is drawn for a sample does not depend on the number of processes
        samples = fresh_batch(self.samples, indices, generator, self.prepare.partial)
        return self.prepare(samples, generator, rows), labels


class EvaluationBatches:
    """All samples in their order, prepared but not augmented, the last batch as large as what is left.

    Args:
        samples: the samples.
        prepare: the normalisation that training used.
        batch_size: samples in a batch.
        share: which of the batches are given, where several processes evaluate together.

    Raises:
        ValueError: when ``batch_size`` is below 1.

    Example:
        >>> from batchot.data import EvaluationBatches, Normalization, Preparation, load_digits
        >>> splits = load_digits()
        >>> prepare = Preparation(Normalization.from_pixels(splits.train.images))
        >>> [len(y) for x, y in EvaluationBatches(splits.test, prepare, batch_size=200)]
        [200, 200, 100]
    """

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
