"""LeNet-5: shapes, parameters, errors."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from batchot.models import LeNet5


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
    with pytest.raises(ValueError, match=r"at least 1, got 0 and"):
        LeNet5(in_channels=0)
    with pytest.raises(ValueError, match=r"got 1 and \(32, 0\)"):
        LeNet5(channels=(32, 0))
