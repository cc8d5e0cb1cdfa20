"""From samples as they are stored to what a network takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.data.augment import Normalization

Augment = Callable[[Tensor, torch.Generator, Tensor | None], Tensor]


@dataclass(frozen=True)
class Preparation:
    """Augmentation, projection and normalisation, in this order.

    Args:
        normalization: of pixels; ``None`` for point clouds, whose coordinates are taken as they are.
        augmentation: random changes of training samples; ``None`` for none.
        projection: makes views of point clouds; ``None`` where samples are what the network sees.
        partial: share of the training drawings that are not finished yet, see
            :func:`~batchot.data.partial.fresh_batch`, by which loaders read.

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
        """Samples ``(b, ...)`` for the network; augmented only where a ``generator`` is given.

        With ``rows`` only those are given; they are what they would be among all.
        """
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
