"""LeNet-5, AlexNet and ResNets."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from batchot.models.layers import check_images, check_least, with_channels_last


class LeNet5(nn.Module):
    """Two padded 5 x 5 convolutions, each with 2 x 2 pooling and ReLU, flattened (Y. LeCun et al., 1998)."""

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        channels: tuple[int, int] = (32, 64),
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
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
    """Five convolutions and the mean over their maps (A. Krizhevsky, 2014), with torchvision's names."""

    out_features = 256
    smallest = 63

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
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


_BLOCKS: dict[int, tuple[int, int, int, int]] = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class ResNet(nn.Module):
    """Residual network (K. He et al., CVPR 2016) of any width, with a stem that keeps the resolution of small pictures.

    Width 16 and this stem are those of A. Goyal et al. (SimpleView), ICML 2021; their residual branches start at 0,
    ours do not: in runs of a few epochs that costs more than it gives (docs/shapes.md).
    """

    def __init__(
        self,
        depth: Literal[10, 18, 34] = 18,
        width: int = 16,
        in_channels: int = 1,
        stem_stride: Literal[1, 2, 4] = 1,
    ) -> None:
        super().__init__()
        if min(width, in_channels) < 1:
            raise ValueError(f"width and in_channels must be at least 1, got {width} and {in_channels}")
        self.in_channels = in_channels
        self.smallest = self.stride = 8 * stem_stride
        self.out_features = 8 * width
        self.stem = nn.Sequential(
            _convolution(in_channels, width, 5 if stem_stride == 4 else 3, stem_stride),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        stages: list[nn.Module] = []
        channels = width
        for k, blocks in enumerate(_BLOCKS[depth]):
            wider = width * 2**k
            for block in range(blocks):
                stages.append(BasicBlock(channels, wider, stride=2 if k > 0 and block == 0 else 1))
                channels = wider
        self.blocks = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, out_features)`` of images ``(n, in_channels, h, w)``."""
        check_least(x, self.in_channels, self.smallest)
        maps: Tensor = self.blocks(self.stem(with_channels_last(x)))  # (n, 8 width, h / stride, w / stride)
        return maps.mean(dim=(2, 3))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(in_channels, out_channels, 3, stride),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            _convolution(out_channels, out_channels, 3),
            nn.BatchNorm2d(out_channels),
        )
        # oneDNN's gradient of a 1 x 1 convolution with stride writes past its memory on processors with AVX2 alone
        # where the channels do not fill its vectors of 8 (PyTorch 2.13): there the pixels are left out before it.
        self.every = stride if in_channels % 8 else 1
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                _convolution(in_channels, out_channels, 1, stride // self.every), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(n, out_channels, h / stride, w / stride)`` of maps ``(n, in_channels, h, w)``."""
        residual: Tensor = self.residual(x)
        # In place: batch normalisation does not need its output again, and memory is what a step waits for.
        return residual.add_(self.shortcut(x[:, :, :: self.every, :: self.every])).relu_()


def _convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    # PyTorch's initial weights, two to three times smaller than He's: with normalisation behind them only the
    # size of a step relative to them counts, and small weights turn sooner.
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
