"""Normalisation of inputs, and memory layout of networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def with_channels_last(x: Tensor) -> Tensor:
    """The same images with their channels last in memory."""
    if torch.onnx.is_in_onnx_export():  # an exported network has no memory layout
        return x
    if x.shape[1] > 1:
        return x.contiguous(memory_format=torch.channels_last)
    # One channel is first and last at once; strides say which is meant.
    n, c, h, w = x.shape
    return x.contiguous().as_strided((n, c, h, w), (h * w, 1, w, 1))


class Normalise(nn.Module):
    r"""Subtract a mean and divide by a standard deviation by channel, :math:`(x - \mu) / s`."""

    mean: Tensor  # (1, c, 1, 1)
    std: Tensor  # (1, c, 1, 1)

    def __init__(self, in_channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if min(std) <= 0:
            raise ValueError(f"standard deviations must be positive, got {tuple(std)}")
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != in_channels:
                values = (sum(values) / len(values),) * in_channels
            self.register_buffer(name, torch.tensor(tuple(values), dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images ``(n, c, h, w)``."""
        return (x - self.mean) / self.std


@torch.no_grad()
def feature_length(backbone: nn.Module, in_channels: int, image_size: int) -> int:
    """Length of the feature vectors that a network gives, found by giving it one black image."""
    backbone.eval()  # the black image must not enter the running statistics
    features = backbone(torch.zeros(1, in_channels, image_size, image_size))
    backbone.train()
    if features.ndim != 2:
        raise ValueError(f"expected features of shape (1, f), got {tuple(features.shape)}")
    return int(features.shape[1])


def check_images(x: Tensor, in_channels: int, image_size: int) -> None:
    """Refuse images of another shape than ``(n, in_channels, image_size, image_size)``."""
    if x.ndim != 4 or tuple(x.shape[1:]) != (in_channels, image_size, image_size):
        raise ValueError(
            f"expected images of shape (n, {in_channels}, {image_size}, {image_size}), got {tuple(x.shape)}"
        )
