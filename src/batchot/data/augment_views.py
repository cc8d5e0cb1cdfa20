"""Random changes of the views of shapes for training: those that a change of the shape could have made."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.data.augment import Padding, flip_and_shift


def mirror_views(views: Tensor, order: tuple[int, ...]) -> Tensor:
    """Views of the mirrored shape: each view mirrored left to right, and put where its mirrored camera is.

    Args:
        views: shape ``(..., v, c, h, w)``.
        order: of :func:`batchot.shapes.mirror.mirror_order`, v numbers.

    Returns:
        Views of the same shape.

    Example:
        >>> import torch
        >>> from batchot.data.augment_views import mirror_views
        >>> mirror_views(torch.tensor([[[[0, 1]]], [[[2, 3]]]]), order=(1, 0)).flatten().tolist()
        [3, 2, 1, 0]
    """
    return views.flip(-1)[..., list(order), :, :, :]


@dataclass(frozen=True)
class ViewAugmentation:
    """Which random changes are made to the views of training shapes; by default none.

    Args:
        order: how the cameras change places when the shape is mirrored; ``None``: shapes are not mirrored.
            Otherwise they are with probability one half, all views of a shape together.
        max_shift: largest shift of each view in each direction, pixels.
        padding: what a shift brings in, ``"reflect"`` or ``"zeros"``.

    Raises:
        ValueError: on a negative shift.

    Example:
        >>> import torch
        >>> from batchot.data import ViewAugmentation
        >>> change = ViewAugmentation(max_shift=2)
        >>> views = torch.zeros(3, 6, 1, 8, 8, dtype=torch.uint8)
        >>> change(views, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 6, 1, 8, 8])
    """

    order: tuple[int, ...] | None = None
    max_shift: int = 0
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        if self.max_shift < 0:
            raise ValueError(f"max_shift must be at least 0, got {self.max_shift}")

    def __call__(self, views: Tensor, generator: torch.Generator, fill: Tensor | None = None) -> Tensor:
        """Changed ``views`` ``(b, v, c, h, w)``; ``fill`` is not looked at."""
        if self.order is not None:
            mirrored = torch.rand(len(views), generator=generator) < 0.5
            views = views.clone()
            views[mirrored] = mirror_views(views[mirrored], self.order)
        if self.max_shift:
            b, v = views.shape[:2]
            moved = flip_and_shift(
                views.flatten(0, 1), generator, flip=False, max_shift=self.max_shift, padding=self.padding
            )
            views = moved.unflatten(0, (b, v))
        return views
