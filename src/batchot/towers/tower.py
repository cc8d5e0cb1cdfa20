"""One network, from raw samples to embeddings: the same for training, use, search and export."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from batchot import models
from batchot.models import MVCNN, MetricNet
from batchot.models.backbones import make_features
from batchot.models.efficientnet_lite import EfficientNetLite
from batchot.models.hubs import HuggingFaceBackbone
from batchot.shapes.render.cameras import make_cameras
from batchot.towers.spec import TowerSpec


class Tower(nn.Module):
    """Projection of clouds, normalisation of pixels, features, metric network."""

    mean: Tensor  # (c, 1, 1), of pixels 0 .. 255
    std: Tensor

    def __init__(self, spec: TowerSpec, pretrained: str | None = None) -> None:
        super().__init__()
        self.splat: nn.Module | None = None
        shape = spec.input_shape
        if spec.projection is not None:
            seen = spec.projection
            self.splat = SplatViews(seen.cameras, seen.size, seen.radius, seen.margin)
            shape = (len(self.splat.rotations), 1, seen.size, seen.size)
        features, width = _features(spec, shape, pretrained)
        metric = MetricNet(width, spec.widths, spec.activation, spec.batch_norm, spec.dropout)
        self.embedder = models.Embedder(features, metric)
        self.spec = _described(spec, backbone_of(features))
        self.kept = False  # takes the features of `view_features` in the place of samples
        self.cut: int | None = None  # layer of the backbone whose maps are kept; None: all that it gives
        self.frozen: Sequence[nn.Module] = ()  # parts that stay in eval mode
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1) * 255, persistent=False)

    def prepared(self, samples: Tensor) -> Tensor:
        """Give raw samples as the features take them: where the network is, projected and normalised."""
        if self.kept:
            return samples
        x = samples.to(next(self.parameters()).device)
        x = self._seen(x.float()) if self.spec.takes == "cloud" else _bytes(x)
        if len(self.mean):
            x = (x - self.mean) / self.std
        return self.laid_out(x)

    def laid_out(self, prepared: Tensor) -> Tensor:
        """Give prepared samples in the memory layout of the network."""
        return channels_last(prepared) if self.spec.channels_last else prepared

    def _seen(self, clouds: Tensor) -> Tensor:
        if self.splat is None or self.spec.projection is None:
            return clouds
        if torch.compiler.is_compiling():  # tensor operations alone can be exported
            views: Tensor = self.splat(clouds)
            return views
        from batchot.data.augment.images import Splat  # the same pixels, by compiled loops

        seen = self.spec.projection
        return Splat(seen.cameras, seen.size, seen.radius, seen.margin)(clouds).float()

    def forward(self, prepared: Tensor) -> Tensor:  # (b, ...) -> (b, d)
        """Give embeddings, float32 and not normalised, of prepared samples or of kept features (b, k, v, f)."""
        if self.kept:
            return self.embedder.head(self._pooled(self._above_cut(prepared[:, 0].float()))).float()
        return self.embedder(prepared).float()

    def mirrored(self, prepared: Tensor) -> Tensor:
        """Give the same samples seen in a mirror: images, views or clouds; of kept features the second form."""
        if self.kept:
            return prepared[:, 1:2]
        if prepared.ndim == 3:
            return prepared * prepared.new_tensor([-1.0, 1.0, 1.0])
        if prepared.ndim == 5 and self.spec.mirror_order is not None:
            prepared = prepared[:, list(self.spec.mirror_order)]
        return prepared.flip(-1)

    def train(self, mode: bool = True) -> Tower:
        """Set training mode, in which what is frozen stays as it is."""
        super().train(mode)
        for module in self.frozen:
            module.train(False)
        return self

    @contextmanager
    def on_kept_features(self, cut: int | None) -> Iterator[None]:
        """Take kept features, of all layers or of those below a cut, in the place of samples in here."""
        before, self.kept, self.cut = (self.kept, self.cut), True, cut
        try:
            yield
        finally:
            self.kept, self.cut = before

    def view_features(self, prepared: Tensor) -> Tensor:  # (b, *input_shape) -> (b, v, f)
        """Give the features of the pictures of prepared samples, before they are pooled."""
        backbone = self.embedder.backbone
        features: Tensor = (
            backbone.view_features(prepared)
            if isinstance(backbone, MVCNN)
            else backbone(prepared).unsqueeze(1)
        )
        return features

    def _above_cut(self, kept: Tensor) -> Tensor:  # (b, v, c h w) -> (b, v, f)
        backbone = backbone_of(self.embedder.backbone)
        if self.cut is None or not isinstance(backbone, EfficientNetLite):
            return kept
        return backbone.upper(kept.flatten(0, 1), self.cut).unflatten(0, kept.shape[:2])

    def _pooled(self, features: Tensor) -> Tensor:  # (b, v, f) -> (b, f)
        backbone = self.embedder.backbone
        pooled: Tensor = backbone.pooling(features) if isinstance(backbone, MVCNN) else features[:, 0]
        return pooled


def backbone_of(features: nn.Module) -> nn.Module:
    """Give the image network in a tower's features: that of every view, or the features themselves."""
    return features.backbone if isinstance(features, MVCNN) else features


def replace_backbone(tower: Tower, change: Callable[[nn.Module], nn.Module]) -> None:
    """Put what is made of the image network of a tower into its place."""
    features = tower.embedder.backbone
    changed = change(backbone_of(features))
    if isinstance(features, MVCNN):
        features.backbone = changed
    else:
        tower.embedder.backbone = changed


def channels_last(samples: Tensor) -> Tensor:
    """Put the channels of images (b, c, h, w) or views (b, v, c, h, w) last in memory; leave others alone."""
    if samples.dtype == torch.float16:  # kept features
        return samples
    if samples.ndim == 4:
        return samples.contiguous(memory_format=torch.channels_last)
    if samples.ndim == 5:
        flat = samples.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return flat.unflatten(0, samples.shape[:2])
    return samples


def _bytes(pixels: Tensor) -> Tensor:
    """Give pixels, 0 .. 255 or 0 .. 1, as floats of 0 .. 255."""
    if pixels.dtype == torch.uint8:
        return pixels.float()
    low, high = (float(v) for v in pixels.aminmax()) if pixels.numel() else (0.0, 1.0)
    if low < 0 or high > 1:
        raise ValueError(
            f"float images must lie in 0 .. 1, got {low:.4g} .. {high:.4g}; "
            "the normalisation of the run is applied here"
        )
    return pixels.float() * 255


def _features(spec: TowerSpec, shape: tuple[int, ...], pretrained: str | None) -> tuple[nn.Module, int]:
    def made(backbone: str) -> tuple[nn.Module, int]:
        return make_features(
            spec.network,
            shape,
            channels=spec.channels,
            batch_norm=spec.batch_norm,
            backbone=backbone,
            pretrained=pretrained,
            pooling=spec.pooling,
            channels_apart=spec.channels_apart,
            views_at_once=1024,
        )

    try:
        if spec.backbone_config is None:
            return made(spec.backbone)
        with tempfile.TemporaryDirectory() as folder:  # transformers reads settings from a folder
            Path(folder, "config.json").write_text(json.dumps(spec.backbone_config), encoding="utf-8")
            return made(folder)
    except (ValueError, OSError, ImportError) as error:
        if spec.network not in ("cnn", "mvcnn"):  # the others have no backbone that could be at fault
            raise
        said = str(error)
        named = said if said.startswith(spec.backbone) else f"{spec.backbone}: {said}"
        raise models.BackboneError(named) from error


def _described(spec: TowerSpec, backbone: nn.Module) -> TowerSpec:
    """Say how to build a backbone again without the folder or the hub that it came from."""
    if not isinstance(backbone, HuggingFaceBackbone):
        return spec
    config = json.loads(backbone.model.config.to_json_string())
    return replace(spec, backbone=type(backbone.model).__name__, backbone_config=config)


class SplatViews(nn.Module):
    r"""The views of :func:`batchot.shapes.render.cloud.splat_depth`, bit by bit."""

    rotations: Tensor  # (v, 3, 3)
    around: Tensor  # (k, 2): rows and columns from the pixel of a centre

    def __init__(self, cameras: str, size: int, radius: float, margin: float = 0.0) -> None:
        super().__init__()
        seen = make_cameras(cameras)
        self.size = size
        # Rounded to single precision one by one, as the renderer does, whose pixels these have to be.
        rounded = torch.tensor(
            [
                0.0 if math.isinf(seen.distance) else 1 / seen.distance,
                1 / (seen.extent * (1 + margin)),
                radius,
            ],
            dtype=torch.float32,
        ).tolist()
        self.inverse_distance, self.inverse_extent, self.radius = rounded
        reach = math.ceil(radius + 0.5)
        steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
        self.register_buffer("around", torch.cartesian_prod(steps, steps), persistent=False)
        self.register_buffer("rotations", torch.from_numpy(seen.rotations).float(), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Give views (b, v, 1, size, size), grey values 0 .. 255, of clouds (b, p, 3)."""
        x, y, z = (points[:, None, :, k] for k in range(3))  # (b, 1, p)
        # Not a matrix product, which would add in another order and round otherwise.
        right, up, back = (
            self.rotations[:, k, 0, None] * x
            + self.rotations[:, k, 1, None] * y
            + self.rotations[:, k, 2, None] * z
            for k in range(3)
        )  # (b, v, p)
        # A number divided by a tensor would be rounded twice, as a reciprocal and a product.
        scale = torch.full_like(back, self.inverse_extent) / (1 - self.inverse_distance * back)
        column = (right * scale + 1) * (self.size / 2)
        row = (1 - up * scale) * (self.size / 2)
        grey = (128.5 + 127 * back).clamp(1, 255).floor()
        rows, dy, in_rows = self._covered(row, self.around[:, 0])  # (b, v, p, k)
        columns, dx, in_columns = self._covered(column, self.around[:, 1])
        seen = in_rows & in_columns & (dx * dx + dy * dy <= self.radius * self.radius)
        index = torch.where(seen, rows * self.size + columns, 0).to(torch.int64)
        values = torch.where(seen, grey.unsqueeze(3), 0)
        pixels = torch.zeros_like(values[:, :, :1, :1]).expand(-1, -1, self.size**2, 1).flatten(2)
        drawn = pixels.scatter_reduce(2, index.flatten(2), values.flatten(2), "amax", include_self=True)
        return drawn.unflatten(2, (1, self.size, self.size))

    def _covered(self, centre: Tensor, around: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels near centres, how far their middles are from them, and whether they are in the disc and picture."""
        pixel = centre.floor().unsqueeze(3) + around
        middle, centre = pixel + 0.5, centre.unsqueeze(3)
        inside = (middle >= centre - self.radius) & (middle <= centre + self.radius)
        return pixel, middle - centre, inside & (pixel >= 0) & (pixel < self.size)
