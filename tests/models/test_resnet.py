"""Small residual networks and AlexNet: shapes, structure, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from batchot.models import AlexNet, ResNet
from batchot.models.resnet import BasicBlock


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
def test_wrong_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        ResNet(10, 2, stem_stride=2)(torch.zeros(shape))
    assert str(error.value) == f"expected images of shape (n, 1, h, w) with h, w >= 16, got {shape}"


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="one of 10, 18, 34, got 50"):
        ResNet(50)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        ResNet(18, width=0)
    with pytest.raises(ValueError, match="stem_stride must be 1, 2 or 4, got 3"):
        ResNet(18, stem_stride=3)  # type: ignore[arg-type]


def test_alexnet() -> None:
    network = AlexNet(in_channels=1)
    assert network(torch.randn(2, 1, 63, 70)).shape == (2, 256)
    names = [n for n, _ in network.named_parameters() if n.endswith("weight")]
    assert names == [f"features.{k}.weight" for k in (0, 3, 6, 8, 10)]  # those of torchvision
    with pytest.raises(ValueError, match=r"h, w >= 63, got \(2, 1, 62, 63\)"):
        network(torch.zeros(2, 1, 62, 63))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        AlexNet(0)
