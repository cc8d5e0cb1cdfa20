"""Image networks of Hugging Face transformers and of timm."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from batchot.errors import MissingExtraError, require
from batchot.models.layers import Normalise, check_images, feature_length, with_channels_last
from batchot.models.pretrained import (
    BackboneError,
    load_image_statistics,
    load_model,
    load_settings,
    load_weights,
)


class HuggingFaceBackbone(nn.Module):
    r"""An image network of transformers and one feature vector for each image."""

    def __init__(
        self, name: str, in_channels: int, image_size: int, pretrained: str | Path | None = None
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.image_size = image_size
        source = os.path.expanduser(name)
        if pretrained is not None and pretrained != "hub":
            source = os.path.expanduser(pretrained)
            if not os.path.isdir(source):  # else a mistyped path would be taken for a name on Hugging Face
                raise BackboneError(
                    f"{source}: no such folder; pretrained must be one with config.json and model.safetensors"
                )
        settings = load_settings(source, image_size)
        trained_channels = getattr(settings, "num_channels", None)
        if not isinstance(trained_channels, int):
            raise BackboneError(f"{source}: {type(settings).__name__} is no image network")
        mean: tuple[float, ...] = (0.0,)
        std: tuple[float, ...] = (1.0,)
        if pretrained is None:
            settings.num_channels = in_channels
            self.model: Any = require("transformers").AutoModel.from_config(settings)
        else:
            self.model = load_model(source)
            mean, std = load_image_statistics(source, trained_channels)
            if trained_channels != in_channels:
                adapt_stem(self.model, trained_channels, in_channels)
        if self.model.main_input_name != "pixel_values":
            raise BackboneError(f"{source}: {type(self.model).__name__} takes something else than images")
        self.normalise = Normalise(in_channels, mean, std)
        self._prepare()
        try:
            self.out_features = feature_length(self, in_channels, image_size)
            stride = self._stride()
        except (RuntimeError, ValueError) as error:
            raise BackboneError(
                f"{source}: cannot take images of {image_size} x {image_size} ({error})"
            ) from error
        if image_size < stride:
            raise BackboneError(
                f"{source}: images of {image_size} x {image_size} are smaller than its stride of {stride} "
                "pixels; make them larger or take another network, such as resnet18-w16"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, out_features)`` of images ``(n, in_channels, image_size, image_size)``."""
        check_images(x, self.in_channels, self.image_size)
        output = self._output(with_channels_last(self.normalise(x)))
        if output.pooler_output is not None:
            pooled: Tensor = output.pooler_output
            return pooled.flatten(1)
        last: Tensor = output.last_hidden_state
        if last.ndim == 4:  # (n, f, h, w)
            return last.mean(dim=(2, 3))
        return last[:, 0] if self._has_class_token else last.mean(1)  # (n, tokens, f)

    def _output(self, pixel_values: Tensor) -> Any:
        if self._interpolates:
            return self.model(pixel_values=pixel_values, interpolate_pos_encoding=True)
        return self.model(pixel_values=pixel_values)

    def _prepare(self) -> None:
        model = self.model
        pooler = getattr(model, "pooler", None)
        if pooler is not None and any(True for _ in pooler.parameters()):
            model.pooler = None
        names = [name.rsplit(".", 1)[-1] for name, _ in model.named_parameters()]
        self._has_class_token = "cls_token" in names
        self._interpolates = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        for name, parameter in model.named_parameters():
            # for another task: never gets a gradient, which DDP takes for a fault
            if name.endswith("mask_token"):
                parameter.requires_grad = False

    @torch.no_grad()
    def _stride(self) -> int:
        """Pixels of the image for one of the last map; 1 where it is finer than the image is large."""
        self.model.eval()
        size = self.image_size
        last = self._output(torch.zeros(1, self.in_channels, size, size)).last_hidden_state
        stride = 1
        if last.ndim == 4 and last.shape[-1] == 1:
            # One pixel is left. Padding hides how much too small the image may be: a larger one shows it.
            last = self._output(torch.zeros(1, self.in_channels, 4 * size, 4 * size)).last_hidden_state
            stride = 4 * size // last.shape[-1]
        self.model.train()
        return stride


@torch.no_grad()
def adapt_stem(model: nn.Module, old: int, new: int) -> None:
    """Replace the first convolution on ``old`` channels by one on ``new``, each the mean over the old ones' sum."""
    stem = next((m for m in model.modules() if isinstance(m, nn.Conv2d) and m.in_channels == old), None)
    if stem is None or stem.groups != 1:
        raise BackboneError(f"{type(model).__name__}: has no first convolution on {old} channels to adapt")
    total = stem.weight.sum(dim=1, keepdim=True)  # (out, 1, h, w)
    stem.weight = nn.Parameter((total / new).repeat(1, new, 1, 1))
    stem.in_channels = new
    for module in model.modules():  # many check their input against a number of their own
        if getattr(module, "num_channels", None) == old:
            module.num_channels = new  # type: ignore[assignment]
    config = getattr(model, "config", None)
    if config is not None:
        config.num_channels = new


class TimmBackbone(nn.Module):
    """A network of timm without its classifier."""

    def __init__(
        self, name: str, in_channels: int, image_size: int, pretrained: str | Path | None = None
    ) -> None:
        super().__init__()
        timm = _timm()
        self.in_channels = in_channels
        self.image_size = image_size
        try:
            self.model: nn.Module = timm.create_model(
                name, pretrained=pretrained == "hub", in_chans=in_channels, num_classes=0
            )
        except Exception as error:  # of timm, of downloads, of files: no other common base
            raise BackboneError(
                f"timm/{name}: timm cannot make it ({error}); timm.list_models() has the names; without a "
                "network give pretrained=None or the path of a .safetensors file"
            ) from error
        if pretrained is not None and pretrained != "hub":
            load_weights(self.model, Path(pretrained), leave_out=("head.fc.", "fc.", "classifier."))
        # Normalised by what the weights were trained with; timm keeps it beside them.
        settings = getattr(self.model, "pretrained_cfg", {}) if pretrained is not None else {}
        self.normalise = Normalise(in_channels, settings.get("mean", (0.0,)), settings.get("std", (1.0,)))
        try:
            self.out_features = feature_length(self, in_channels, image_size)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise BackboneError(
                f"timm/{name}: cannot take images of {image_size} x {image_size} ({error})"
            ) from error

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, out_features)`` of images ``(n, in_channels, image_size, image_size)``."""
        check_images(x, self.in_channels, self.image_size)
        features: Tensor = self.model(self.normalise(x))
        return features


def _timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    # A torchvision that does not fit the torch beside it fails with a RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"names that start with timm/ need timm, which cannot be imported ({error}): "
            "pip install 'batchot[timm]', together with a torchvision that fits the installed torch"
        ) from error
