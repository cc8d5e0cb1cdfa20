"""Data sets of images and shapes, and batches of them.

Example:
    >>> from batchot.data import EvaluationBatches, Normalization, Preparation, load_dataset
    >>> splits = load_dataset("digits")
    >>> prepare = Preparation(Normalization.from_pixels(splits.train.images))
    >>> x, y = next(iter(EvaluationBatches(splits.test, prepare)))
    >>> x.shape
    torch.Size([500, 1, 8, 8])
"""

from batchot.data.augment import Augmentation, Normalization
from batchot.data.augment_clouds import CloudAugmentation
from batchot.data.augment_sketches import SketchAugmentation
from batchot.data.augment_views import ViewAugmentation
from batchot.data.cifar10 import load_cifar10
from batchot.data.datasets import DatasetName, load_dataset
from batchot.data.digits import load_digits
from batchot.data.errors import DataError, DownloadError
from batchot.data.folder import load_image_folder
from batchot.data.held_out import held_out
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
