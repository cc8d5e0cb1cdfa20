"""Plain convolutional networks: LeNet-5, and the convolutions of AlexNet."""

from __future__ import annotations

from torch import Tensor, nn

from batchot.models.layers import check_images, check_least, with_channels_last


class LeNet5(nn.Module):
    r"""Two convolutions of 5 x 5, each with 2 x 2 maximum pooling and ReLU (Y. LeCun et al., 1998), then flattened.

    Sizes are those of the program released with the paper; convolutions are padded by 2, so that only pooling makes
    maps smaller, and ``batch_norm`` normalises them before ReLU.
    """

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        channels: tuple[int, int] = (32, 64),
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if in_channels < 1 or min(channels) < 1 or len(channels) != 2:
            raise ValueError(
                f"in_channels and two channels must be at least 1, got {in_channels} and {channels}"
            )
        if image_size < 4:
            raise ValueError(
                f"image_size must be at least 4, so that something is left of it, got {image_size}"
            )
        self.in_channels = in_channels
        self.image_size = image_size
        self.out_features = channels[1] * (image_size // 2 // 2) ** 2
        self.layers = nn.Sequential(
            *_stage(in_channels, channels[0], batch_norm),
            *_stage(channels[0], channels[1], batch_norm),
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, out_features)`` of images ``(n, in_channels, image_size, image_size)``."""
        check_images(x, self.in_channels, self.image_size)
        features: Tensor = self.layers(x)
        return features


def _stage(in_channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    # Batch normalisation subtracts the mean, and with it any bias of the convolution.
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=5, padding=2, bias=not batch_norm)
    normalization: list[nn.Module] = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    # Pooling first gives the same maximum, and ReLU a quarter of the work.
    return [convolution, *normalization, nn.MaxPool2d(2), nn.ReLU()]


class AlexNet(nn.Module):
    """Five convolutions with ReLU and three poolings, and the mean over the last maps.

    A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; the backbone of the paper's
    programs for ModelNet. Parameters have the names of torchvision's ``alexnet``, so that its weights fit. The fully
    connected layers are left out; the metric network stands in their place.
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
        check_least(x, self.in_channels, self.smallest)
        maps: Tensor = self.features(with_channels_last(x))
        return maps.mean(dim=(2, 3))
