"""Views of point clouds, made while training so that the clouds themselves can be augmented."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from batchot.shapes.cameras import make_cameras
from batchot.shapes.splat import splat_depth


@dataclass(frozen=True)
class Splat:
    """Depth images of point clouds, see :func:`batchot.shapes.splat.splat_depth`.

    Args:
        cameras: a name of :func:`batchot.shapes.cameras.make_cameras`.
        size: height and width of a view, pixels.
        radius: of a point, pixels.
        margin: what is seen is wider than the unit sphere by this share, so that shapes that were made larger are
            not cut off.

    Example:
        >>> import torch
        >>> from batchot.data.projection import Splat
        >>> Splat("box-6", size=32, radius=1.5)(torch.zeros(2, 10, 3)).shape
        torch.Size([2, 6, 1, 32, 32])
    """

    cameras: str = "box-6"
    size: int = 64
    radius: float = 2.0
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
