"""EdgeConv against the layer on all edges."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchot.models.points import EdgeConv
from oracles.point_networks import edge_conv


def pair(dtype: torch.dtype = torch.float64) -> tuple[EdgeConv, nn.BatchNorm2d]:
    """A layer and the normalisation of its oracle, with scales of both signs."""
    torch.manual_seed(0)
    layer, norm = EdgeConv(5, 8, k=4).to(dtype), nn.BatchNorm2d(8).to(dtype)
    with torch.no_grad():
        layer.norm.weight.copy_(torch.tensor([1.0, -1, 0.5, -2, 0.3, 1, -0.1, 3]))
        layer.norm.bias.copy_(torch.randn(8))
        norm.load_state_dict(layer.norm.state_dict())
    return layer, norm


def test_training_equals_the_layer_on_all_edges() -> None:
    layer, norm = pair()
    x = torch.randn(3, 11, 5, dtype=torch.float64) + 2
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = layer.linear.weight.detach().clone().requires_grad_()
    got, expected = layer(ours), edge_conv(theirs, weight, norm, k=4)
    torch.testing.assert_close(got, expected)

    towards = torch.randn_like(got)
    (got * towards).sum().backward()
    (expected * towards).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(layer.linear.weight.grad, weight.grad)
    torch.testing.assert_close(layer.norm.weight.grad, norm.weight.grad)
    torch.testing.assert_close(layer.norm.bias.grad, norm.bias.grad)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(layer.norm.state_dict()[name], value)


def test_evaluation_equals_the_layer_on_all_edges() -> None:
    layer, norm = pair()
    for _ in range(3):
        x = torch.randn(2, 9, 5, dtype=torch.float64)
        layer(x)
        edge_conv(x, layer.linear.weight, norm, k=4)
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    expected = edge_conv(x, layer.linear.weight, norm.eval(), k=4)
    torch.testing.assert_close(layer.eval()(x), expected)


def test_scale_of_zero_leaves_the_shift() -> None:
    layer, _ = pair()
    nn.init.zeros_(layer.norm.weight)  # all edges tie, and any of them is the maximum
    x = torch.randn(2, 9, 5, dtype=torch.float64, requires_grad=True)
    after = layer(x)
    torch.testing.assert_close(after, nn.functional.leaky_relu(layer.norm.bias, 0.2).expand_as(after))
    after.sum().backward()
    assert layer.norm.weight.grad.isfinite().all()
    assert not x.grad.any()


def test_digits_are_left_far_from_the_origin() -> None:
    layer, _ = pair(torch.float32)
    x = torch.randn(2, 16, 5) + 50
    exact_layer, exact_norm = pair()
    expected = edge_conv(x.double(), exact_layer.linear.weight, exact_norm, k=4)
    torch.testing.assert_close(layer(x).double(), expected, atol=2e-3, rtol=2e-3)


def test_half_precision_around_it_changes_nothing() -> None:
    layer, _ = pair(torch.float32)
    x = torch.randn(2, 16, 5)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), expected)


def test_a_cloud_does_not_see_another() -> None:
    layer, _ = pair()
    layer.eval()
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[1:], layer(x[1:]))


@pytest.mark.parametrize("p", [4, 5])
def test_as_many_points_as_neighbours(p: int) -> None:
    layer, norm = pair()
    x = torch.randn(2, p, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), edge_conv(x, layer.linear.weight, norm, k=4))
