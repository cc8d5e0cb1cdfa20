"""PointNet: formula, errors."""

from __future__ import annotations

import torch

from batchot.models import PointNet


def test_maximum_over_points_one_by_one() -> None:
    torch.manual_seed(0)
    network = PointNet(out_features=16).eval()
    x = torch.randn(2, 9, 3)
    single = torch.stack([network(x[:, i : i + 1]) for i in range(9)])  # (p, b, f)
    torch.testing.assert_close(network(x), single.max(0).values)


def test_normals_beside_the_coordinates() -> None:
    assert PointNet(in_channels=6, out_features=16)(torch.randn(2, 9, 6)).shape == (2, 16)


def test_parameters_are_those_of_the_original() -> None:
    widths = [p.shape for n, p in PointNet().named_parameters() if "linear" in n]
    assert widths == [(64, 3), (64, 64), (64, 64), (128, 64), (1024, 128)]
