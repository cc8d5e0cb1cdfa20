"""Random changes of point clouds for training: plain tensor code on whole batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CloudAugmentation:
    r"""Which random changes are made to training clouds; by default none.

    A cloud becomes :math:`x \mapsto R_\theta S F x + \varepsilon`: mirrored (F), scaled along each axis (S),
    turned about z (R) and jittered. A cloud of the unit sphere stays in one of radius ``1 + scale``, but for the
    jitter.

    Args:
        mirror: x and y change sign, each with probability one half; up stays up.
        scale: each axis is multiplied by a factor of its own, uniform in ``[1 - scale, 1 + scale]``,
            so that the shape as it is stands in the middle of what is trained on.
        turn: standard deviation of the angle :math:`\theta`, degrees; 180 and above: any angle.
        jitter: standard deviation of :math:`\varepsilon` of each coordinate of each point.

    Raises:
        ValueError: on a negative number, or a scale of 1 or more.

    Example:
        >>> import torch
        >>> from batchot.data import CloudAugmentation
        >>> change = CloudAugmentation(mirror=True, scale=0.2)
        >>> change(torch.ones(2, 5, 3), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 5, 3])
    """

    mirror: bool = False
    scale: float = 0.0
    turn: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale must be in [0, 1), got {self.scale}")
        if not (self.turn >= 0 and self.jitter >= 0):
            raise ValueError(f"turn and jitter must be at least 0, got {self.turn} and {self.jitter}")

    def __call__(self, points: Tensor, generator: torch.Generator, fill: Tensor | None = None) -> Tensor:
        """Changed ``points`` ``(b, p, 3)``; ``fill`` belongs to images and is not looked at."""
        b = len(points)
        factors = torch.ones(b, 1, 3)
        if self.mirror:
            signs = torch.randint(0, 2, (b, 1, 2), generator=generator) * 2 - 1
            factors[:, :, :2] *= signs
        if self.scale:
            factors *= 1 + self.scale * (2 * torch.rand(b, 1, 3, generator=generator) - 1)
        changed = points * factors.to(points)
        if self.turn:
            if self.turn >= 180:
                angle = 2 * math.pi * torch.rand(b, generator=generator)
            else:
                angle = math.radians(self.turn) * torch.randn(b, generator=generator)
            changed = changed @ _about_z(angle).mT.to(points)
        if self.jitter:
            changed = changed + self.jitter * torch.randn(points.shape, generator=generator).to(points)
        return changed


def _about_z(angle: Tensor) -> Tensor:
    rotation = torch.zeros(len(angle), 3, 3)
    cos, sin = angle.cos(), angle.sin()
    rotation[:, 0, 0], rotation[:, 0, 1] = cos, -sin
    rotation[:, 1, 0], rotation[:, 1, 1] = sin, cos
    rotation[:, 2, 2] = 1
    return rotation  # (b, 3, 3)
