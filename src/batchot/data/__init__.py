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

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "Augmentation": "batchot.data.augment.images",
    "BalancedBatches": "batchot.data.batches.samplers",
    "BatchSampler": "batchot.data.batches.samplers",
    "CloudAugmentation": "batchot.data.augment.clouds",
    "DataError": "batchot.errors",
    "DatasetName": "batchot.data.sets.by_name",
    "DownloadError": "batchot.errors",
    "EvaluationBatches": "batchot.data.batches.loader",
    "Images": "batchot.data.samples",
    "Normalization": "batchot.data.augment.images",
    "Paired": "batchot.data.batches.paired",
    "PairedBatches": "batchot.data.batches.paired",
    "PairedTrainingBatches": "batchot.data.batches.paired",
    "PlainBatches": "batchot.data.batches.samplers",
    "Preparation": "batchot.data.batches.loader",
    "Samples": "batchot.data.samples",
    "SketchAugmentation": "batchot.data.augment.sketches",
    "Splits": "batchot.data.samples",
    "TrainingBatches": "batchot.data.batches.loader",
    "ViewAugmentation": "batchot.data.augment.images",
    "held_out": "batchot.data.samples",
    "load_cifar10": "batchot.data.sets.cifar10",
    "load_dataset": "batchot.data.sets.by_name",
    "load_digits": "batchot.data.sets.mnist",
    "load_image_folder": "batchot.data.sets.pictures",
    "load_mnist": "batchot.data.sets.mnist",
    "load_shrec_shapes": "batchot.data.sets.shrec",
    "load_shrec_sketches": "batchot.data.sets.shrec",
    "load_sketch_folder": "batchot.data.sets.sketches",
    "pair_classes": "batchot.data.batches.paired",
}

__all__ = [
    "Augmentation",
    "BalancedBatches",
    "BatchSampler",
    "CloudAugmentation",
    "DataError",
    "DatasetName",
    "DownloadError",
    "EvaluationBatches",
    "Images",
    "Normalization",
    "Paired",
    "PairedBatches",
    "PairedTrainingBatches",
    "PlainBatches",
    "Preparation",
    "Samples",
    "SketchAugmentation",
    "Splits",
    "TrainingBatches",
    "ViewAugmentation",
    "held_out",
    "load_cifar10",
    "load_dataset",
    "load_digits",
    "load_image_folder",
    "load_mnist",
    "load_shrec_shapes",
    "load_shrec_sketches",
    "load_sketch_folder",
    "pair_classes",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from batchot.errors import extras_named

        with extras_named():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'batchot.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
