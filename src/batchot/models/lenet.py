"""LeNet-5 as a feature extractor."""

from __future__ import annotations

from torch import Tensor, nn


class LeNet5(nn.Module):
    r"""Two convolutions of 5 x 5, each followed by ReLU and 2 x 2 maximum pooling, then flattened.

    .. math:: f = \mathrm{pool}(\mathrm{relu}(W_2 * \mathrm{pool}(\mathrm{relu}(W_1 * x))))

    Convolutions are padded by 2, so that only pooling makes the maps smaller.

    Args:
        in_channels: channels of the images.
        image_size: height and width of the images, pixels, at least 4.
        channels: maps after the first and the second convolution.
        batch_norm: normalise the maps over the batch before ReLU.

    Attributes:
        out_features: length of the feature vector, ``channels[1] * (image_size // 2 // 2) ** 2``.

    Raises:
        ValueError: on sizes below 1 (``image_size``: 4), and in ``forward`` on images of another shape.

    Source:
        Y. LeCun et al., 1998, with the sizes of the program released with Xu, Sun, Liu, "Learning with
        Batch-wise Optimal Transport Loss for 3D Shape Recognition", CVPR 2019.

    Example:
        >>> import torch
        >>> from batchot.models import LeNet5
        >>> backbone = LeNet5(in_channels=3, image_size=32)
        >>> backbone(torch.zeros(2, 3, 32, 32)).shape, backbone.out_features
        (torch.Size([2, 4096]), 4096)
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
        if x.ndim != 4 or tuple(x.shape[1:]) != (self.in_channels, self.image_size, self.image_size):
            raise ValueError(
                f"expected images of shape (n, {self.in_channels}, {self.image_size}, {self.image_size}), "
                f"got {tuple(x.shape)}"
            )
        features: Tensor = self.layers(x)
        return features


def _stage(in_channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    # Batch normalisation subtracts the mean, and with it any bias of the convolution.
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=5, padding=2, bias=not batch_norm)
    normalization: list[nn.Module] = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    # Pooling first gives the same maximum, and ReLU a quarter of the work.
    return [convolution, *normalization, nn.MaxPool2d(2), nn.ReLU()]
