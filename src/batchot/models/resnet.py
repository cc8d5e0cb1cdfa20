"""Small residual networks for small pictures, trained from scratch."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from batchot.models.normalise import with_channels_last

ResNetDepth = Literal[10, 18, 34]
_BLOCKS: dict[int, tuple[int, int, int, int]] = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class ResNet(nn.Module):
    r"""Residual network of any width that keeps the resolution of small pictures.

    .. math:: x_{l+1} = \mathrm{relu}(x_l + W_2 * \mathrm{relu}(W_1 * x_l))

    with batch normalisation after each convolution, four stages of ``width * (1, 2, 4, 8)`` maps, and the mean
    over the last maps. The stem is one 3 x 3 convolution without pooling: the stem of the ImageNet networks
    (7 x 7, stride 2, then pooling) leaves 16 x 16 of a picture of 64 x 64 before the first block.
    Maps lie in memory with their channels last, which halves the time of a step on a CPU.

    Args:
        depth: layers with weights, counted as usual: 10, 18 or 34.
        width: maps of the first stage.
        in_channels: channels of the images.
        stem_stride: 1 keeps the whole resolution in the first stage, 2 takes about a quarter of the time, 4 again
            a quarter of that; its kernel is 5 x 5, so that neighbouring windows overlap.

    Attributes:
        out_features: ``8 * width``.
        stride: factor by which the last maps are smaller than the image, ``8 * stem_stride``.

    Raises:
        ValueError: on an unknown depth or stride, sizes below 1, and in ``forward`` on images with other
            channels or smaller than ``stride``.

    Source:
        K. He et al., "Deep residual learning for image recognition", CVPR 2016. Width 16 and this stem: A. Goyal
        et al., "Revisiting point cloud shape classification with a simple and effective baseline" (SimpleView),
        ICML 2021; their residual branches start at 0, ours do not: in runs of a few epochs that costs more
        than it gives (docs/shapes.md).

    Example:
        >>> import torch
        >>> from batchot.models import ResNet
        >>> backbone = ResNet(10, width=4)
        >>> backbone(torch.zeros(2, 1, 32, 32)).shape, backbone.out_features
        (torch.Size([2, 32]), 32)
    """

    def __init__(
        self,
        depth: ResNetDepth = 18,
        width: int = 16,
        in_channels: int = 1,
        stem_stride: Literal[1, 2, 4] = 1,
    ) -> None:
        super().__init__()
        if depth not in get_args(ResNetDepth):
            raise ValueError(
                f"depth must be one of {', '.join(map(str, get_args(ResNetDepth)))}, got {depth}"
            )
        if min(width, in_channels) < 1:
            raise ValueError(f"width and in_channels must be at least 1, got {width} and {in_channels}")
        if stem_stride not in (1, 2, 4):
            raise ValueError(f"stem_stride must be 1, 2 or 4, got {stem_stride}")
        self.in_channels = in_channels
        self.stride = 8 * stem_stride
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
        if x.ndim != 4 or x.shape[1] != self.in_channels or min(x.shape[2:]) < self.stride:
            raise ValueError(
                f"expected images of shape (n, {self.in_channels}, h, w) with h, w >= {self.stride}, "
                f"got {tuple(x.shape)}"
            )
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
