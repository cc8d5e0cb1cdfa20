"""What training asks of a labelled set, be it of images, of views or of point clouds."""

from __future__ import annotations

from typing import Protocol, Self

from torch import Tensor


class Samples(Protocol):
    """Labelled samples that are read a batch at a time.

    :class:`~batchot.data.Images`, :class:`~batchot.data.Views` and :class:`~batchot.data.Clouds` are such sets.
    """

    @property
    def labels(self) -> Tensor:
        """Index into ``classes`` of each sample, int64, shape ``(n,)``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each sample, empty where they have none."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample as :meth:`batch` gives it."""

    def __len__(self) -> int:
        """Number of samples."""

    def batch(self, indices: Tensor) -> Tensor:
        """The samples at ``indices`` (int64, ``(b,)``), shape ``(b, *sample_shape)``, not yet normalised."""

    def subset(self, indices: Tensor) -> Self:
        """The set of the samples at ``indices`` (int64, ``(k,)``), in that order, with the same classes."""
