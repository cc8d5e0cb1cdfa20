"""What a pretrained image network expects of its images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    r"""Subtract a mean and divide by a standard deviation by channel, :math:`(x - \mu) / s`.

    Both are kept with the weights, which are only right together with them.

    Args:
        in_channels: channels of the images.
        mean: of each channel; of another number of channels (colours, where the images are grey) their average
            is taken for all.
        std: the same.

    Raises:
        ValueError: on a standard deviation that is not positive.

    Example:
        >>> import torch
        >>> from batchot.models.normalise import Normalise
        >>> Normalise(1, mean=(0.25, 0.75), std=(0.5, 0.5))(torch.ones(1, 1, 1, 1)).item()
        1.0
    """

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
    """Length of the feature vectors that a network gives, found by giving it one black image.

    Args:
        backbone: from images ``(n, in_channels, image_size, image_size)`` to features; left in training mode.
        in_channels: channels of the images.
        image_size: height and width of the images, pixels.

    Raises:
        ValueError: when it does not give a vector for an image.

    Example:
        >>> from batchot.models import LeNet5
        >>> from batchot.models.normalise import feature_length
        >>> feature_length(LeNet5(image_size=8), in_channels=1, image_size=8)
        256
    """
    backbone.eval()  # the black image must not enter the running statistics
    features = backbone(torch.zeros(1, in_channels, image_size, image_size))
    backbone.train()
    if features.ndim != 2:
        raise ValueError(f"expected features of shape (1, f), got {tuple(features.shape)}")
    return int(features.shape[1])


def check_images(x: Tensor, in_channels: int, image_size: int) -> None:
    """Refuse images of another shape than ``(n, in_channels, image_size, image_size)``.

    Raises:
        ValueError: on another shape.

    Example:
        >>> import torch
        >>> from batchot.models.normalise import check_images
        >>> check_images(torch.zeros(2, 3, 8, 8), in_channels=3, image_size=8)
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != (in_channels, image_size, image_size):
        raise ValueError(
            f"expected images of shape (n, {in_channels}, {image_size}, {image_size}), got {tuple(x.shape)}"
        )
