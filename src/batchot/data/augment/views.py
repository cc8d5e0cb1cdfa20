"""Augmentation of views, and how channels are projected."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.data.augment.images import Padding, flip_and_shift
from batchot.shapes.render.cameras import make_cameras
from batchot.shapes.render.cloud import splat_depth


def mirror_views(views: Tensor, order: tuple[int, ...]) -> Tensor:
    """Views of the mirrored shape: each view mirrored left to right, and put where its mirrored camera is."""
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


@dataclass(frozen=True)
class Splat:
    """Depth images of point clouds, see :func:`batchot.shapes.render.cloud.splat_depth`."""

    cameras: str = "box-6"  # a name of :func:`batchot.shapes.render.cameras.make_cameras`
    size: int = 64  # height and width of a view, pixels
    radius: float = 2.0  # of a point, pixels
    # what is seen is wider than the unit sphere by this share, so that shapes that were made larger are not cut off
    margin: float = 0.0

    def __call__(self, points: Tensor) -> Tensor:
        """Views of ``points`` ``(b, p, 3)``, uint8, shape ``(b, v, 1, size, size)``, on the same device."""
        cameras = make_cameras(self.cameras)
        images = splat_depth(
            points.cpu().numpy(),
            cameras.rotations,
            distance=cameras.distance,
            extent=cameras.extent * (1 + self.margin),
            size=self.size,
            radius=self.radius,
        )
        return torch.from_numpy(images).unsqueeze(2).to(points.device)
