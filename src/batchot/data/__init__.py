"""Data sets of images and shapes, and batches of them.

The names below are loaded when they are first used: reading a sketch or a shape needs no torch.

Example:
    >>> from batchot.data import EvaluationBatches, Normalization, Preparation, load_dataset
    >>> splits = load_dataset("digits")
    >>> prepare = Preparation(Normalization.from_pixels(splits.train.images))
    >>> x, y = next(iter(EvaluationBatches(splits.test, prepare)))
    >>> x.shape
    torch.Size([500, 1, 8, 8])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchot.errors import lazily

if TYPE_CHECKING:
    from batchot.data.augment.clouds import CloudAugmentation
    from batchot.data.augment.images import Augmentation, Normalization, ViewAugmentation
    from batchot.data.augment.sketches import SketchAugmentation
    from batchot.data.batches.loader import EvaluationBatches, Preparation, TrainingBatches
    from batchot.data.batches.paired import Paired, PairedBatches, PairedTrainingBatches, pair_classes
    from batchot.data.batches.samplers import BalancedBatches, BatchSampler, PlainBatches
    from batchot.data.samples import Images, Samples, Splits, held_out
    from batchot.data.sets.by_name import DatasetName, load_dataset
    from batchot.data.sets.cifar10 import load_cifar10
    from batchot.data.sets.mnist import load_digits, load_mnist
    from batchot.data.sets.pictures import load_image_folder
    from batchot.data.sets.shrec import load_shrec_shapes, load_shrec_sketches
    from batchot.data.sets.sketches import load_sketch_folder
    from batchot.errors import DataError, DownloadError

__getattr__, __dir__ = lazily(
    __name__,
    {
        "data.augment.clouds": "CloudAugmentation",
        "data.augment.images": "Augmentation Normalization ViewAugmentation",
        "data.augment.sketches": "SketchAugmentation",
        "data.batches.loader": "EvaluationBatches Preparation TrainingBatches",
        "data.batches.paired": "Paired PairedBatches PairedTrainingBatches pair_classes",
        "data.batches.samplers": "BalancedBatches BatchSampler PlainBatches",
        "data.samples": "Images Samples Splits held_out",
        "data.sets.by_name": "DatasetName load_dataset",
        "data.sets.cifar10": "load_cifar10",
        "data.sets.mnist": "load_digits load_mnist",
        "data.sets.pictures": "load_image_folder",
        "data.sets.shrec": "load_shrec_shapes load_shrec_sketches",
        "data.sets.sketches": "load_sketch_folder",
        "errors": "DataError DownloadError",
    },
)

__all__ = [
    "Augmentation", "BalancedBatches", "BatchSampler", "CloudAugmentation", "DataError", "DatasetName",
    "DownloadError", "EvaluationBatches", "Images", "Normalization", "Paired", "PairedBatches",
    "PairedTrainingBatches", "PlainBatches", "Preparation", "Samples", "SketchAugmentation", "Splits",
    "TrainingBatches", "ViewAugmentation", "held_out", "load_cifar10", "load_dataset", "load_digits",
    "load_image_folder", "load_mnist", "load_shrec_shapes", "load_shrec_sketches", "load_sketch_folder",
    "pair_classes",
]  # fmt: skip
