"""Small residual networks for small pictures, trained from scratch."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from batchot.models.layers import check_least, with_channels_last

ResNetDepth = Literal[10, 18, 34]
_BLOCKS: dict[int, tuple[int, int, int, int]] = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class ResNet(nn.Module):
    r"""Residual network (K. He et al., CVPR 2016) of any width that keeps the resolution of small pictures.

    .. math:: x_{l+1} = \mathrm{relu}(x_l + W_2 * \mathrm{relu}(W_1 * x_l))

    with batch normalisation after each convolution, four stages of ``width * (1, 2, 4, 8)`` maps, and the mean over
    the last maps. The stem is one convolution without pooling: that of the ImageNet networks leaves 16 x 16 of a
    picture of 64 x 64 before the first block. ``stem_stride`` 1 keeps the whole resolution in the first stage, 2
    takes about a quarter of the time, 4 a quarter of that; its kernel is 5 x 5, so that neighbouring windows overlap.
    Maps lie in memory with their channels last, which halves the time of a step on a CPU.

    Width 16 and this stem are those of A. Goyal et al. (SimpleView), ICML 2021; their residual branches start at 0,
    ours do not: in runs of a few epochs that costs more than it gives (docs/shapes.md).
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
