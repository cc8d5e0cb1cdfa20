"""Labelled images in memory, and their division into training and test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.data.errors import DataError


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled 8-bit images of one size.

    Args:
        images: pixels, uint8, shape ``(n, c, h, w)``.
        labels: index into ``classes`` of each image, int64, shape ``(n,)``.
        classes: name of each class.

    Raises:
        DataError: on a wrong rank or dtype, on lengths that differ, on a label without a class.

    Example:
        >>> import torch
        >>> from batchot.data import Images
        >>> pixels = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
        >>> shapes = Images(pixels, torch.tensor([0, 1, 1]), ("disc", "square"))
        >>> len(shapes), shapes.subset(torch.tensor([2])).labels.tolist()
        (3, [1])
    """

    images: Tensor  # (n, c, h, w) uint8
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise DataError(
                "images must be uint8 of shape (n, c, h, w), "
                f"got {self.images.dtype} {tuple(self.images.shape)}"
            )
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise DataError(
                f"labels must be int64 of shape (n,), got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{len(self.images):,} images but {len(self.labels):,} labels; there must be one for each"
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(
                f"labels run from {int(self.labels.min())} to {int(self.labels.max())}, "
                f"but with {len(self.classes)} classes they must lie in 0 .. {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Images:
        """The images at ``indices`` (int64, shape ``(k,)``), in that order, with the same classes."""
        return Images(self.images[indices], self.labels[indices], self.classes)


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set divided into training and test images.

    Args:
        name: the data set, e.g. ``"mnist"``.
        train: images to learn from.
        test: images to measure on; same classes and shape.

    Raises:
        DataError: when the two parts differ in classes or in the shape of an image.

    Example:
        >>> from batchot.data import load_digits
        >>> splits = load_digits()
        >>> len(splits.train), len(splits.test), splits.image_shape
        (1297, 500, (1, 8, 8))
    """

    name: str
    train: Images
    test: Images

    def __post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            raise DataError(
                f"{self.name}: training and test classes differ: {self.train.classes}, {self.test.classes}"
            )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise DataError(
                f"{self.name}: training images are {tuple(self.train.images.shape[1:])}, "
                f"test images {tuple(self.test.images.shape[1:])} (c, h, w); they must agree"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w
