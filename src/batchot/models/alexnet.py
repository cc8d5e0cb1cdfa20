"""The convolutions of AlexNet, the backbone of the method's ModelNet programs."""

from __future__ import annotations

from torch import Tensor, nn

from batchot.models.normalise import with_channels_last


class AlexNet(nn.Module):
    """Five convolutions with ReLU and three poolings, and the mean over the last maps.

    Parameters have the names that torchvision's ``alexnet`` gives them (``features.0.weight`` and so on), so that
    its weights fit: see ``make_backbone``. The fully connected layers, 94 % of its weights, are left out; the
    metric network stands in their place.

    Args:
        in_channels: channels of the images.

    Attributes:
        out_features: 256.
        smallest: least height and width of an image, 63 pixels.

    Raises:
        ValueError: ``in_channels`` below 1, and in ``forward`` on images with other channels or too small.

    Source:
        A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014. The features of
        the program released with Xu, Sun, Liu, CVPR 2019, for ModelNet have the same length.

    Example:
        >>> import torch
        >>> from batchot.models import AlexNet
        >>> AlexNet(in_channels=1)(torch.zeros(2, 1, 64, 64)).shape
        torch.Size([2, 256])
    """

    out_features = 256
    smallest = 63

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, got {in_channels}")
        self.in_channels = in_channels
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, 256)`` of images ``(n, in_channels, h, w)``."""
        if x.ndim != 4 or x.shape[1] != self.in_channels or min(x.shape[2:]) < self.smallest:
            raise ValueError(
                f"expected images of shape (n, {self.in_channels}, h, w) with h, w >= {self.smallest}, "
                f"got {tuple(x.shape)}"
            )
        maps: Tensor = self.features(with_channels_last(x))
        return maps.mean(dim=(2, 3))
