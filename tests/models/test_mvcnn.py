"""MVCNN: one backbone for all views, parts, memory, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchot.models import MVCNN, Embedder, LeNet5, MetricNet, make_backbone


def make(pooling="max", **settings: int) -> MVCNN:
    torch.manual_seed(0)
    return MVCNN(make_backbone("resnet10-w4", in_channels=2, image_size=16), pooling, **settings)


@pytest.mark.parametrize(
    ("pooling", "length"), [("max", 32), ("mean", 32), ("attention", 32), ("concat", 160)]
)
def test_shapes(pooling, length: int) -> None:
    network = make(pooling, n_views=5)
    assert network(torch.randn(3, 5, 2, 16, 16)).shape == (3, length) == (3, network.out_features)


def test_max_over_a_loop_of_views() -> None:
    network = make().eval()
    x = torch.randn(3, 5, 2, 16, 16)
    one_by_one = torch.stack([network.backbone(x[:, k]) for k in range(5)])  # (v, b, f)
    torch.testing.assert_close(network(x), one_by_one.max(0).values)
    torch.testing.assert_close(network.view_features(x), one_by_one.transpose(0, 1))


@pytest.mark.parametrize("pooling", ["max", "mean", "attention", "concat"])
@pytest.mark.parametrize("at_once", [1, 4, 15, 100])
def test_in_parts_as_whole(pooling, at_once: int) -> None:
    network = make(pooling, n_views=5)
    x = torch.randn(3, 5, 2, 16, 16)
    network(x)
    network.eval()
    sizes = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    whole = network(x)
    network.views_at_once = at_once
    torch.testing.assert_close(network(x), whole)
    assert max(sizes[1:]) == min(at_once, 15)
    assert sum(sizes[1:]) == 15


def test_training_is_never_in_parts() -> None:
    first, second = make(), make(views_at_once=2)
    x = torch.randn(3, 5, 2, 16, 16)
    assert torch.equal(first(x), second(x))


def test_channels_last_reach_the_backbone_without_a_copy() -> None:
    network = make()
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(15, 2, 16, 16).contiguous(memory_format=torch.channels_last)
    network(images.unflatten(0, (3, 5)))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[0].data_ptr() == images.data_ptr()


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_gradient_reaches_every_view_and_parameter(pooling) -> None:
    network = make(pooling)
    x = torch.randn(3, 5, 2, 16, 16, requires_grad=True)
    for block in network.backbone.blocks:  # they start as their shortcuts
        nn.init.ones_(block.residual[-1].weight)
    network(x).square().sum().backward()
    assert (x.grad.abs().flatten(2).amax(2) > 0).all()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_state_goes_over() -> None:
    first, second = make("attention"), make("attention")
    x = torch.randn(3, 5, 2, 16, 16)
    first(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_under_a_metric_network_and_with_another_backbone() -> None:
    network = MVCNN(LeNet5(1, 8, (2, 3)))
    embedder = Embedder(network, MetricNet(network.out_features, (9, 7)))
    assert embedder(torch.randn(3, 4, 1, 8, 8)).shape == (3, 7)


@pytest.mark.parametrize(
    "shape", [(3, 0, 2, 16, 16), (0, 5, 2, 16, 16), (3, 5, 1, 16, 16), (3, 2, 16, 16), (3, 5, 2, 0, 16)]
)
def test_wrong_views(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected views of shape \(b, v, 2, h, w\)") as error:
        make()(torch.zeros(shape))
    assert str(error.value).endswith(f"got {shape}")


def test_wrong_number_of_views_is_seen_before_the_work() -> None:
    network = make("concat", n_views=5)
    network.backbone.register_forward_pre_hook(lambda *_: pytest.fail("the backbone ran"))
    with pytest.raises(ValueError, match=r"expected 5 views of each shape, got \(3, 4, 2, 16, 16\)"):
        network(torch.zeros(3, 4, 2, 16, 16))


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="Flatten has no attribute out_features"):
        MVCNN(nn.Flatten())
