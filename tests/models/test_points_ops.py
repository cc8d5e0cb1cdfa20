"""Neighbours, the layer on points, and the check of clouds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchot.models import points
from batchot.models.points import PointLayer, check_clouds, nearest_neighbours
from oracles.point_networks import neighbours


@pytest.mark.parametrize(("p", "k"), [(1, 1), (12, 1), (12, 5), (12, 12)])
def test_neighbours_against_loops(p: int, k: int) -> None:
    torch.manual_seed(p + k)
    x = torch.randn(3, p, 4)
    found = nearest_neighbours(x, k).sort(dim=2).values
    assert found.tolist() == [neighbours(cloud, k) for cloud in x]


def test_neighbours_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(5, 10, 3)
    whole = nearest_neighbours(x, 3).sort(dim=2).values
    monkeypatch.setattr(points, "_PAIRS_AT_ONCE", 200)
    assert torch.equal(nearest_neighbours(x, 3).sort(dim=2).values, whole)


def test_neighbours_far_from_the_origin() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 40, 3).double()
    found = nearest_neighbours((x + 300).float(), 6).sort(dim=2).values
    exact = torch.tensor([neighbours(x[0], 6)])
    assert (found == exact).float().mean() > 0.98


def test_all_points_the_same() -> None:
    found = nearest_neighbours(torch.ones(1, 6, 3), 4)
    assert all(len(set(row)) == 4 and max(row) < 6 for row in found[0].tolist())


def test_layer_is_a_convolution_of_size_1() -> None:
    torch.manual_seed(0)
    layer = PointLayer(3, 6, negative_slope=0.2)
    convolution, norm = nn.Conv1d(3, 6, 1, bias=False), nn.BatchNorm1d(6)
    convolution.weight.data = layer.linear.weight.detach().unsqueeze(2)
    x = torch.randn(4, 7, 3)
    expected = nn.functional.leaky_relu(norm(convolution(x.transpose(1, 2))), 0.2).transpose(1, 2)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.norm.running_var, norm.running_var)


@pytest.mark.parametrize("shape", [(2, 4, 2), (2, 3), (0, 4, 3), (2, 3, 4, 3), (2, 3, 3)])
def test_check_of_clouds(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        check_clouds(torch.zeros(shape), in_channels=3, at_least=4)
    assert str(error.value).endswith(f"with b >= 1 and p >= 4, got {shape}")
