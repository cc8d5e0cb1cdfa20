"""An exported network with all that is done to its samples before and after."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from batchot.export.architecture import Architecture, TowerArchitecture
from batchot.export.splat import SplatViews
from batchot.models import CosineHead, Embedder, MetricNet
from batchot.models.features import make_features


class ExportedTower(nn.Module):
    """From raw samples to embeddings and logits: projection, normalisation, network, mirror image, L2 norm.

    Args:
        architecture: of all the networks
        tower: the one that this is

    Raises:
        BackboneError: there is no such backbone
        ValueError: the architecture is damaged
    """

    mean: Tensor  # (c, 1, 1), of pixels 0 .. 255
    std: Tensor

    def __init__(self, architecture: Architecture, tower: TowerArchitecture) -> None:
        super().__init__()
        self.about, self.normalized = tower, architecture.normalized
        self.projection: nn.Module | None = None
        shape = tower.input_shape
        if tower.projection is not None:
            seen = tower.projection
            self.projection = SplatViews(seen.cameras, seen.size, seen.radius, seen.margin)
            shape = (len(self.projection.rotations), 1, seen.size, seen.size)
        features, width = _features(tower, shape)
        metric = MetricNet(width, tower.widths, tower.activation, tower.batch_norm)
        self.embedder = Embedder(features, metric)
        self.head: nn.Module | None = None
        if architecture.head is not None:
            d, c = architecture.dimensions, len(architecture.classes)
            cosine = architecture.head == "cosine"
            self.head = CosineHead(d, c, architecture.head_scale) if cosine else nn.Linear(d, c)
        for name, values in (("mean", tower.mean), ("std", tower.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1) * 255, persistent=False)
        self.eval()

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embed samples.

        Args:
            samples: uint8 views (b, v, c, h, w) or images (b, c, h, w), or float32 clouds (b, p, 3)

        Returns:
            Embeddings (b, d), and logits (b, n) of the classes, None where there is no classifier.
        """
        x = samples.to(torch.float32)
        if self.projection is not None:
            x = self.projection(x)
        if len(self.mean):
            x = (x - self.mean) / self.std
        embeddings, logits = self._once(x)
        if not self.about.flip:
            return embeddings, logits
        mirrored, mirrored_logits = self._once(self._mirrored(x))
        embeddings = (embeddings + mirrored) / 2
        if self.normalized:
            embeddings = nn.functional.normalize(embeddings)
        if logits is None or mirrored_logits is None:
            return embeddings, None
        return embeddings, (logits + mirrored_logits) / 2

    def _once(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        embeddings: Tensor = self.embedder(x)
        logits = None if self.head is None else self.head(embeddings)
        return nn.functional.normalize(embeddings) if self.normalized else embeddings, logits

    def _mirrored(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            return x * x.new_tensor([-1.0, 1.0, 1.0])
        order = self.about.mirror_order
        if x.ndim == 5 and order is not None:
            x = x[:, list(order)]
        return x.flip(-1)


def _features(tower: TowerArchitecture, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    def made(backbone: str) -> tuple[nn.Module, int]:
        return make_features(
            tower.network,
            shape,
            channels=tower.channels,
            batch_norm=tower.batch_norm,
            backbone=backbone,
            pooling=tower.pooling,
            channels_apart=tower.channels_apart,
        )

    if tower.backbone_config is None:
        return made(tower.backbone)
    with tempfile.TemporaryDirectory() as folder:  # transformers reads settings from a folder
        Path(folder, "config.json").write_text(json.dumps(tower.backbone_config), encoding="utf-8")
        return made(folder)
