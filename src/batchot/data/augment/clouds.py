"""Random changes of point clouds for training: plain tensor code on whole batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_IN_CELL = 8  # points, front and back: with fewer, what lies behind shows through


@dataclass(frozen=True)
class CloudAugmentation:
    r"""Random changes of training clouds: :math:`x \mapsto R_\theta S F x + \varepsilon` of what is seen of them."""

    mirror: bool = False  # x and y change sign (F), each with probability one half; up stays up
    scale: float = 0.0  # each axis is multiplied by a factor (S), uniform in ``[1 - scale, 1 + scale]``
    turn: float = 0.0  # standard deviation of the angle about z, degrees; 180 and above: any angle
    jitter: float = 0.0  # standard deviation of each coordinate of each point
    # share that is seen from one side only, as by a scanner, put into the unit sphere again as a query is
    partial: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale must be in [0, 1), got {self.scale}")
        if not (self.turn >= 0 and self.jitter >= 0):
            raise ValueError(f"turn and jitter must be at least 0, got {self.turn} and {self.jitter}")
        if not 0 <= self.partial <= 1:
            raise ValueError(f"partial must be in [0, 1], got {self.partial}")

    def __call__(self, points: Tensor, generator: torch.Generator, fill: Tensor | None = None) -> Tensor:
        b = len(points)
        if self.partial:
            points = self._one_side(points, generator)
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

    def _one_side(self, points: Tensor, generator: torch.Generator) -> Tensor:
        """Some of the clouds as they are seen from one side, with as many points."""
        b, p, _ = points.shape
        chosen = (torch.rand(b, generator=generator) < self.partial).to(points.device)
        directions = torch.randn(b, 3, generator=generator)
        seen = seen_from(points, directions.to(points))
        others = torch.multinomial(seen.float().cpu(), p, replacement=True, generator=generator)
        kept = torch.where(seen, torch.arange(p, device=points.device), others.to(points.device))
        side = points.gather(1, kept[:, :, None].expand(-1, -1, 3))
        side = side - (side.amax(1, keepdim=True) + side.amin(1, keepdim=True)) / 2
        side = side / side.norm(dim=2, keepdim=True).amax(1, keepdim=True).clamp_min(1e-12)
        return torch.where(chosen[:, None, None], side, points)


def seen_from(points: Tensor, directions: Tensor) -> Tensor:  # (b, p, 3), (b, 3) -> (b, p) bool
    """Which points are seen from far away in a direction: in each cell of the picture the nearest ones, a cell deep."""
    b, p, _ = points.shape
    ahead = torch.nn.functional.normalize(directions, dim=1)
    other = torch.eye(3).to(points)[ahead.abs().argmin(1)]  # never along the direction
    right = torch.nn.functional.normalize(torch.linalg.cross(ahead, other), dim=1)
    up = torch.linalg.cross(ahead, right)
    depth = (points @ ahead[:, :, None])[:, :, 0]
    picture = points @ torch.stack([right, up], 2)  # (b, p, 2)
    low, high = picture.amin(1, keepdim=True), picture.amax(1, keepdim=True)
    cells = max(1, round(math.sqrt(p / _IN_CELL)))
    width = ((high - low).amax(2, keepdim=True) / cells).clamp_min(1e-12)  # (b, 1, 1)
    row = ((picture - low) / width).long().clamp_max(cells - 1)
    cell = cells * row[:, :, 0] + row[:, :, 1]
    nearest = torch.full((b, cells**2), -math.inf).to(points).scatter_reduce(1, cell, depth, "amax")
    return depth >= nearest.gather(1, cell) - width[:, :, 0]


def _about_z(angle: Tensor) -> Tensor:
    rotation = torch.zeros(len(angle), 3, 3)
    cos, sin = angle.cos(), angle.sin()
    rotation[:, 0, 0], rotation[:, 0, 1] = cos, -sin
    rotation[:, 1, 0], rotation[:, 1, 1] = sin, cos
    rotation[:, 2, 2] = 1
    return rotation  # (b, 3, 3)
