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
    from batchot.data.augment import Augmentation, Normalization
    from batchot.data.augment_clouds import CloudAugmentation
    from batchot.data.augment_sketches import SketchAugmentation
    from batchot.data.augment_views import ViewAugmentation
    from batchot.data.cifar10 import load_cifar10
    from batchot.data.datasets import DatasetName, load_dataset
    from batchot.data.digits import load_digits
    from batchot.data.errors import DataError, DownloadError
    from batchot.data.folder import load_image_folder
    from batchot.data.images import Images, Splits
    from batchot.data.loader import EvaluationBatches, TrainingBatches
    from batchot.data.mnist import load_mnist
    from batchot.data.paired_batches import PairedBatches
    from batchot.data.paired_loader import PairedTrainingBatches
    from batchot.data.pairing import Paired, pair_classes
    from batchot.data.prepare import Preparation
    from batchot.data.samplers import BalancedBatches, BatchSampler, PlainBatches
    from batchot.data.samples import Samples
    from batchot.data.shrec import load_shrec_shapes, load_shrec_sketches
    from batchot.data.sketches import load_sketch_folder
    from batchot.data.validation_part import held_out

_HOMES = {
    "Augmentation": "batchot.data.augment",
    "BalancedBatches": "batchot.data.samplers",
    "BatchSampler": "batchot.data.samplers",
    "CloudAugmentation": "batchot.data.augment_clouds",
    "DataError": "batchot.data.errors",
    "DatasetName": "batchot.data.datasets",
    "DownloadError": "batchot.data.errors",
    "EvaluationBatches": "batchot.data.loader",
    "Images": "batchot.data.images",
    "Normalization": "batchot.data.augment",
    "Paired": "batchot.data.pairing",
    "PairedBatches": "batchot.data.paired_batches",
    "PairedTrainingBatches": "batchot.data.paired_loader",
    "PlainBatches": "batchot.data.samplers",
    "Preparation": "batchot.data.prepare",
    "Samples": "batchot.data.samples",
    "SketchAugmentation": "batchot.data.augment_sketches",
    "Splits": "batchot.data.images",
    "TrainingBatches": "batchot.data.loader",
    "ViewAugmentation": "batchot.data.augment_views",
    "held_out": "batchot.data.validation_part",
    "load_cifar10": "batchot.data.cifar10",
    "load_dataset": "batchot.data.datasets",
    "load_digits": "batchot.data.digits",
    "load_image_folder": "batchot.data.folder",
    "load_mnist": "batchot.data.mnist",
    "load_shrec_shapes": "batchot.data.shrec",
    "load_shrec_sketches": "batchot.data.shrec",
    "load_sketch_folder": "batchot.data.sketches",
    "pair_classes": "batchot.data.pairing",
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
        from batchot.shapes.extra import extras_named

        with extras_named():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'batchot.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
