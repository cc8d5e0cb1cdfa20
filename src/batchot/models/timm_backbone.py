"""Image networks of timm, where it is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from batchot.errors import MissingExtraError
from batchot.models.normalise import Normalise, check_images, feature_length
from batchot.models.pretrained import BackboneError, load_weights


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
