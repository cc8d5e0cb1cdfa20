"""LeNet-5: shapes, parameters, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from batchot.models import AlexNet, LeNet5, ResNet
from batchot.models.convnets import BasicBlock


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("in_channels", "image_size", "channels"),
    [(1, 28, (32, 64)), (3, 32, (4, 6)), (2, 9, (3, 5)), (1, 4, (1, 1))],
)
def test_out_features(in_channels: int, image_size: int, channels: tuple[int, int], batch_norm: bool) -> None:
    backbone = LeNet5(in_channels, image_size, channels, batch_norm)
    features = backbone(torch.randn(3, in_channels, image_size, image_size))
    assert features.shape == (3, backbone.out_features)
    assert (features >= 0).all()


def test_against_the_formula() -> None:
    torch.manual_seed(0)
    backbone = LeNet5(3, 8, (4, 6))
    x = torch.randn(2, 3, 8, 8)
    w1, b1, w2, b2 = backbone.parameters()
    expected = F.max_pool2d(F.relu(F.conv2d(x, w1, b1, padding=2)), 2)
    expected = F.max_pool2d(F.relu(F.conv2d(expected, w2, b2, padding=2)), 2)
    torch.testing.assert_close(backbone(x), expected.flatten(1))


def test_parameters_are_those_of_the_released_network() -> None:
    assert [tuple(p.shape) for p in LeNet5().parameters()] == [(32, 1, 5, 5), (32,), (64, 32, 5, 5), (64,)]
    assert LeNet5().out_features == 7 * 7 * 64


def test_batch_norm_makes_features_independent_of_contrast() -> None:
    torch.manual_seed(0)
    backbone = LeNet5(batch_norm=True)
    x = torch.randn(8, 1, 28, 28)
    torch.testing.assert_close(backbone(x), backbone(10 * x), atol=1e-3, rtol=1e-3)
    assert all(
        "bias" not in name or "layers.1." in name or "layers.5." in name
        for name, _ in backbone.named_parameters()
    )


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 28, 27), (2, 1, 32, 32), (1, 28, 28), (2, 784)])
def test_wrong_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        LeNet5()(torch.zeros(shape))
    assert str(error.value) == f"expected images of shape (n, 1, 28, 28), got {shape}"


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match=r"image_size must be at least 4, .* got 3"):
        LeNet5(image_size=3)


@pytest.mark.parametrize(("depth", "convolutions"), [(10, 9), (18, 17), (34, 33)])
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_shapes(depth, convolutions: int, stem_stride) -> None:
    network = ResNet(depth, width=2, in_channels=3, stem_stride=stem_stride)
    assert network(torch.randn(2, 3, 32, 40)).shape == (2, 16) == (2, network.out_features)
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert (
        kernels.count((3, 3)) + kernels.count((5, 5)) == convolutions
    )  # the depth counts the classifier too
    assert kernels.count((1, 1)) == 3


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_stride(stem_stride) -> None:
    network = ResNet(10, width=2, stem_stride=stem_stride)
    maps = network.blocks(network.stem(torch.zeros(1, 1, 64, 64)))
    assert 64 / maps.shape[-1] == network.stride == 8 * stem_stride


def test_block_against_the_formula() -> None:
    torch.manual_seed(0)
    block = BasicBlock(3, 4, stride=2)
    nn.init.uniform_(block.residual[-1].weight)
    x = torch.randn(5, 3, 8, 8)

    def norm(maps: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        return F.batch_norm(maps, None, None, scale, training=True)

    inner = F.relu(norm(F.conv2d(x, block.residual[0].weight, stride=2, padding=1)))
    residual = norm(F.conv2d(inner, block.residual[3].weight, padding=1), block.residual[4].weight)
    shortcut = norm(F.conv2d(x, block.shortcut[0].weight, stride=2))
    torch.testing.assert_close(block(x), F.relu(residual + shortcut))


def test_the_residual_branch_has_a_part_from_the_start() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 4, 6, 6)
    difference = BasicBlock(4, 4)(x) - x
    assert difference.abs().mean() > 0.1


@pytest.mark.parametrize("channels", [1, 2])
def test_maps_lie_channels_last_and_weights_do_not(channels: int) -> None:
    network = ResNet(10, width=4, in_channels=channels)
    maps = []
    network.blocks[-1].register_forward_hook(lambda *arguments: maps.append(arguments[2]))
    network(torch.randn(2, channels, 16, 16))
    assert maps[0].is_contiguous(memory_format=torch.channels_last)
    assert all(p.is_contiguous() for p in network.parameters())


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 15, 16), (2, 1, 16, 8), (1, 16, 16)])
def test_residual_networks_refuse_wrong_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        ResNet(10, 2, stem_stride=2)(torch.zeros(shape))
    assert str(error.value) == f"expected images of shape (n, 1, h, w) with h, w >= 16, got {shape}"


def test_residual_networks_refuse_wrong_settings() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        ResNet(18, width=0)


def test_alexnet() -> None:
    network = AlexNet(in_channels=1)
    assert network(torch.randn(2, 1, 63, 70)).shape == (2, 256)
    names = [n for n, _ in network.named_parameters() if n.endswith("weight")]
    assert names == [f"features.{k}.weight" for k in (0, 3, 6, 8, 10)]  # those of torchvision
    with pytest.raises(ValueError, match=r"h, w >= 63, got \(2, 1, 62, 63\)"):
        network(torch.zeros(2, 1, 62, 63))
