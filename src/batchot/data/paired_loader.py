"""Training batches of several towers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from batchot.data.paired_batches import PairedBatches
from batchot.data.partial import fresh_batch
from batchot.data.prepare import Preparation
from batchot.data.resumable import ResumableBatches
from batchot.data.samples import Samples
from batchot.data.seeding import generator_for
from batchot.data.share import WHOLE, Share


class PairedTrainingBatches(ResumableBatches[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]):
    """Batches of several towers; batch ``k`` of epoch ``e`` depends on ``(seed, e, k)`` alone.

    Passes are resumed and made ahead as :class:`~batchot.data.resumable.ResumableBatches` says.

    Args:
        samples: the training samples of each tower.
        sampler: which of them go into which batch.
        prepare: augmentation and normalisation of each tower.
        seed: of the sampler and the augmentation.
        ahead: batches that are made ahead; 0 makes each when it is asked for.
        share: which part of the batch of each tower is given, where several processes train together.

    Raises:
        ValueError: on towers that differ, a negative seed or a negative number of batches ahead.

    Example:
        >>> from batchot.data import Normalization, PairedBatches, PairedTrainingBatches, Preparation, load_digits
        >>> train = load_digits().train
        >>> towers = {"sketch": train, "shape": train}
        >>> prepare = dict.fromkeys(towers, Preparation(Normalization.from_pixels(train.images)))
        >>> labels = {name: samples.labels for name, samples in towers.items()}
        >>> sampler = PairedBatches(labels, {"sketch": 20, "shape": 30}, classes_per_batch=5)
        >>> batch = next(iter(PairedTrainingBatches(towers, sampler, prepare)))
        >>> [(name, tuple(x.shape), tuple(y.shape)) for name, (x, y) in batch.items()]
        [('sketch', (20, 1, 8, 8), (20,)), ('shape', (30, 1, 8, 8), (30,))]
    """

    def __init__(
        self,
        samples: Mapping[str, Samples],
        sampler: PairedBatches,
        prepare: Mapping[str, Preparation],
        *,
        seed: int = 0,
        ahead: int = 2,
        share: Share = WHOLE,
    ) -> None:
        super().__init__(seed=seed, ahead=ahead)
        self.share = share
        if not set(samples) == set(sampler.sizes) == set(prepare):
            raise ValueError(
                f"the towers of samples ({', '.join(samples)}), sampler ({', '.join(sampler.sizes)}) and "
                f"prepare ({', '.join(prepare)}) must be the same"
            )
        self.samples = dict(samples)
        self.batch_sampler = sampler
        self.prepare = dict(prepare)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def _order(self, epoch: int) -> Sequence[dict[str, Tensor]]:
        return self.batch_sampler.epoch(self.seed, epoch)

    def _make(self, indices: dict[str, Tensor], epoch: int, k: int) -> dict[str, tuple[Tensor, Tensor]]:
        made = {}
        for tower, chosen in indices.items():
            samples = self.samples[tower]
            generator = generator_for(f"augmentation of {tower}", self.seed, epoch, k)
            rows = None if self.share.of == 1 else self.share.rows(len(chosen))
            labels = samples.labels[chosen if rows is None else chosen[rows]]
            # augmented as a whole: what is drawn for a sample does not depend on the number of processes
            prepare = self.prepare[tower]
            fresh = fresh_batch(samples, chosen, generator, prepare.partial)
            made[tower] = prepare(fresh, generator, rows), labels
        return made
