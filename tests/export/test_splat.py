"""Views of clouds by tensor operations are those of the renderer, pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from batchot.data.augment.images import Splat
from batchot.towers.tower import SplatViews


@pytest.mark.parametrize(
    ("cameras", "size", "radius", "margin"),
    [
        ("box-6", 64, 2.0, 0.1),
        ("box-6", 17, 0.5, 0.0),
        ("circle-12", 32, 1.5, 0.0),
        ("dodecahedron-20", 24, 3.3, 0.3),
    ],
)
def test_pixels_are_those_of_the_renderer(cameras: str, size: int, radius: float, margin: float) -> None:
    points = torch.randn(5, 200, 3, generator=torch.Generator().manual_seed(size))
    points /= points.norm(dim=2, keepdim=True).clamp(min=1)
    points[0, :50] = torch.tensor([0.0, 0.0, 1.0])  # many at one place, on the axis of a camera
    points[1] *= 1.5  # beyond the sphere, and some beyond the picture
    points[2] = (points[2] * 8).round() / 8  # discs whose borders go through the middles of pixels
    expected = Splat(cameras, size, radius, margin)(points).float()
    found = SplatViews(cameras, size, radius, margin)(points)
    assert torch.equal(found, expected)
    assert 0 < (expected > 0).float().mean() < 1
