"""Batches of images for training, which can be resumed anywhere, and for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from batchot.data.augment import Augmentation, Normalization
from batchot.data.images import Images
from batchot.data.samplers import BatchSampler
from batchot.data.seeding import generator_for


class ImageBatches:
    """Training batches; batch ``k`` of epoch ``e`` depends on ``(seed, e, k)`` and on nothing before it.

    Every pass is the next epoch, starting at 0; :meth:`set_epoch` chooses another. A pass that was begun is
    over when the next one begins. :meth:`state_dict` says how far the batches have been handed out, and after
    :meth:`load_state_dict` the next pass goes on from there: Lightning saves and restores it with its
    checkpoints.

    Args:
        images: the training images.
        sampler: which of them go into which batch.
        normalization: of the pixels.
        augmentation: random changes; ``None`` for none.
        seed: of the sampler and the augmentation.

    Raises:
        ValueError: on a negative seed.

    Example:
        >>> from batchot.data import ImageBatches, Normalization, PlainBatches, load_digits
        >>> train = load_digits().train
        >>> normalization = Normalization.from_images(train)
        >>> batches = ImageBatches(train, PlainBatches(len(train), 64), normalization=normalization)
        >>> x, y = next(iter(batches))
        >>> x.shape, y.shape, len(batches), batches.state_dict()
        (torch.Size([64, 1, 8, 8]), torch.Size([64]), 20, {'epoch': 0, 'batch': 1})
    """

    def __init__(
        self,
        images: Images,
        sampler: BatchSampler,
        *,
        normalization: Normalization,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.images = images
        self.batch_sampler = sampler
        self.normalization = normalization
        self.augmentation = augmentation
        self.seed = seed
        self._epoch = 0
        self._batch = 0  # number of batches of the epoch that have been handed out
        self._resumed = False

    def __len__(self) -> int:
        return len(self.batch_sampler)

    @property
    def sampler(self) -> ImageBatches:
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
        for k, indices in enumerate(self.batch_sampler.epoch(self.seed, epoch)[start:], start):
            self._epoch, self._batch = epoch, k + 1
            yield self._make(indices, epoch, k)

    def _make(self, indices: Tensor, epoch: int, k: int) -> tuple[Tensor, Tensor]:
        x = self.images.images.index_select(0, indices)  # (b, c, h, w) uint8
        if self.augmentation is not None:
            generator = generator_for("augmentation", self.seed, epoch, k)
            x = self.augmentation(x, generator, self.normalization.fill)
        return self.normalization(x), self.images.labels[indices]


class EvaluationBatches:
    """All images in their order, unchanged but for normalisation, the last batch as large as what is left.

    Args:
        images: the images.
        normalization: of the pixels, the one that training used.
        batch_size: images in a batch.

    Raises:
        ValueError: when ``batch_size`` is below 1.

    Example:
        >>> from batchot.data import EvaluationBatches, Normalization, load_digits
        >>> splits = load_digits()
        >>> batches = EvaluationBatches(splits.test, Normalization.from_images(splits.train), batch_size=200)
        >>> [len(y) for x, y in batches]
        [200, 200, 100]
    """

    def __init__(self, images: Images, normalization: Normalization, batch_size: int = 500) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.images = images
        self.normalization = normalization
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        parts = zip(
            self.images.images.split(self.batch_size), self.images.labels.split(self.batch_size), strict=True
        )
        for x, y in parts:
            yield self.normalization(x), y
