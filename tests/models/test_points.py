"""What PointNet and DGCNN have in common."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchot.models import DGCNN, PointNet


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "dgcnn":
        return DGCNN(k=4, widths=(8, 12), features=16)
    return PointNet(out_features=32)


networks = pytest.mark.parametrize("name", ["pointnet", "dgcnn"])


@networks
@pytest.mark.parametrize("p", [4, 30])
def test_shapes(name: str, p: int) -> None:
    network = make(name)
    features = network(torch.randn(3, p, 3))
    assert features.shape == (3, 32) == (3, network.out_features)
    assert features.isfinite().all()


@networks
def test_order_of_the_points_does_not_matter(name: str) -> None:
    network = make(name).double()
    x = torch.randn(3, 30, 3, dtype=torch.float64)
    mixed = torch.stack([cloud[torch.randperm(30)] for cloud in x])
    network(x)  # running statistics that are not the initial ones
    network.eval()
    torch.testing.assert_close(network(x), network(mixed))


@networks
def test_shapes_are_told_apart_and_do_not_depend_on_the_batch(name: str) -> None:
    network = make(name).double()
    x = torch.randn(3, 30, 3, dtype=torch.float64) * torch.tensor([1, 2, 3]).view(3, 1, 1)
    network(x)
    network.eval()
    features = network(x)
    torch.testing.assert_close(features[1:2], network(x[1:2]))
    assert (features[0] - features[1]).abs().max() > 1e-2


@networks
def test_every_parameter_learns(name: str) -> None:
    network = make(name)
    # The matrices of T-Nets start at 0 and let no gradient through until after the first step.
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        network(torch.randn(4, 30, 3)).square().sum().backward()
        optimiser.step()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@networks
def test_same_seed_same_network_and_state_goes_over(name: str) -> None:
    first, second = make(name), make(name)
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    first(torch.randn(4, 30, 3))
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 30, 3)
    assert torch.equal(first.eval()(x), second.eval()(x))


@networks
@pytest.mark.parametrize("shape", [(2, 30, 4), (30, 3), (2, 0, 3), (0, 30, 3)])
def test_wrong_clouds(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected point clouds of shape \(b, p, 3\)") as error:
        make(name)(torch.zeros(shape))
    assert str(shape) in str(error.value)
