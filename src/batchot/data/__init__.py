"""Data sets of images, and batches of them.

Example:
    >>> from batchot.data import EvaluationBatches, Normalization, load_dataset
    >>> splits = load_dataset("digits")
    >>> normalization = Normalization.from_images(splits.train)
    >>> x, y = next(iter(EvaluationBatches(splits.test, normalization)))
    >>> x.shape
    torch.Size([500, 1, 8, 8])
"""

from batchot.data.augment import Augmentation, Normalization
from batchot.data.cifar10 import load_cifar10
from batchot.data.datasets import DatasetName, load_dataset
from batchot.data.digits import load_digits
from batchot.data.errors import DataError, DownloadError
from batchot.data.folder import load_image_folder
from batchot.data.images import Images, Splits
from batchot.data.loader import EvaluationBatches, ImageBatches
from batchot.data.mnist import load_mnist
from batchot.data.samplers import BalancedBatches, BatchSampler, PlainBatches

__all__ = [
    "Augmentation",
    "BalancedBatches",
    "BatchSampler",
    "DataError",
    "DatasetName",
    "DownloadError",
    "EvaluationBatches",
    "ImageBatches",
    "Images",
    "Normalization",
    "PlainBatches",
    "Splits",
    "load_cifar10",
    "load_dataset",
    "load_digits",
    "load_image_folder",
    "load_mnist",
]
