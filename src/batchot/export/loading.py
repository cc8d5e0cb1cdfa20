"""Exported networks, loaded without training code."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from batchot.errors import ExportError, require
from batchot.models import CosineHead, Embedder, MetricNet
from batchot.models.features import NetworkName, make_features
from batchot.models.heads import Activation
from batchot.models.mvcnn import Pooling
from batchot.shapes.render.cameras import make_cameras

Takes = Literal["views", "cloud", "image"]
FORMAT = 1
"""Changed when an older package could not read what is written."""


@dataclass(frozen=True)
class Projection:
    """How a cloud becomes depth views, see `batchot.export.loading.SplatViews`."""

    cameras: str  # name of a set of cameras
    size: int  # height and width of a view, pixels
    radius: float  # of a point, pixels
    margin: float  # by what share the picture is wider than the unit sphere


@dataclass(frozen=True)
class TowerArchitecture:
    """One network, from raw samples to embeddings."""

    name: str  # of the tower, "model" where there is one only
    prefix: str  # with which the names of its weights begin
    takes: Takes  # views uint8 (b, v, c, h, w), a cloud float32 (b, p, 3) or an image uint8 (b, c, h, w)
    input_shape: tuple[int, ...]  # of one sample, without b
    network: NetworkName  # kind of the network of the features
    widths: tuple[int, ...]  # of the metric network
    activation: Activation  # of the metric network
    batch_norm: bool  # in the metric network, and in "lenet"
    channels: tuple[int, int]  # of the convolutions (lenet)
    backbone: str  # name of the network of an image (cnn, mvcnn)
    # settings of a backbone of transformers, by which it is built in the place of its name
    backbone_config: dict[str, Any] | None
    pooling: Pooling  # of views (mvcnn)
    mean: tuple[
        float, ...
    ]  # of the pixels in 0 .. 1, by channel; empty for clouds that are taken as they are
    std: tuple[float, ...]  # the same
    projection: Projection | None  # of clouds to views
    flip: bool  # average with the mirror image
    mirror_order: tuple[int, ...] | None  # how views change places in the mirror
    channels_apart: bool = False  # older exports do not say

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `Architecture.to_json` gave of a tower."""
        read: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if read.get("projection") is not None:
            read["projection"] = Projection(**read["projection"])
        return cls(**read)


@dataclass(frozen=True)
class Architecture:
    """Networks whose embeddings can be compared."""

    classes: tuple[str, ...]  # names of the classes
    dimensions: int  # width of the embeddings
    normalized: bool  # embeddings are unit vectors
    head: Literal["linear", "cosine"] | None  # kind of the classifier; None: there is none
    head_scale: float  # of a cosine classifier
    towers: tuple[TowerArchitecture, ...]  # the networks

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        if values.get("format") != FORMAT:
            raise ValueError(f"format {values.get('format')!r} is not {FORMAT}, which this version reads")
        try:
            read = {field.name: values[field.name] for field in fields(cls)}
            towers = tuple(TowerArchitecture.from_json(tower) for tower in read.pop("towers"))
            return cls(**{**read, "classes": tuple(read["classes"]), "towers": towers})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged: {error}") from error


class ExportedTower(nn.Module):
    """From raw samples to embeddings and logits: projection, normalisation, network, mirror image, L2 norm."""

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
        """Embed samples."""
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


WEIGHTS, ARCHITECTURE = "model.safetensors", "architecture.json"


@dataclass(frozen=True, eq=False)
class ExportedNetwork:
    """Networks of an export, in eval mode.

    Args:
        architecture: what they are built of; ``classes`` and more
        towers: by name
    """

    architecture: Architecture
    towers: dict[str, ExportedTower]

    def embed(self, samples: Tensor, tower: str | None = None) -> Tensor:
        """Embed samples.

        Args:
            samples: uint8 views (b, v, c, h, w) or images (b, c, h, w), or float32 clouds (b, p, 3)
            tower: by which network; may be left out where there is only one

        Returns:
            Embeddings (b, d).

        Raises:
            ValueError: there is no such tower, or which one is not said
        """
        names = list(self.towers)
        if tower is None and len(names) == 1:
            tower = names[0]
        if tower not in self.towers:
            raise ValueError(f"there is no tower {tower!r}; there are {', '.join(names)}")
        with torch.inference_mode():
            embeddings: Tensor = self.towers[tower](samples)[0]
        return embeddings


def load_exported(path: str | Path) -> ExportedNetwork:
    """Load the networks of a folder of ``batchot export``, from model.safetensors and architecture.json.

    Args:
        path: the folder

    Returns:
        The networks, on the CPU.

    Raises:
        ExportError: it holds no such files, or they are damaged
        MissingExtraError: safetensors is not installed

    Example::

        network = load_exported("exported")
        embeddings = network.embed(views)  # (b, d)
    """
    folder = Path(path)
    file = folder / ARCHITECTURE
    if not file.is_file():
        raise ExportError(f"{folder} has no {ARCHITECTURE}; export the run with --format safetensors")
    try:
        architecture = Architecture.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ExportError(f"{file} cannot be read ({error}); export the run again") from error
    weights = _read(folder / WEIGHTS)
    try:
        return ExportedNetwork(architecture, build_towers(architecture, weights))
    except (RuntimeError, ValueError) as error:
        what = str(error).strip().splitlines()
        raise ExportError(
            f"{folder / WEIGHTS} does not fit {ARCHITECTURE} ({' '.join(what[:2])}); export the run again"
        ) from error


def build_towers(architecture: Architecture, weights: Mapping[str, Tensor]) -> dict[str, ExportedTower]:
    """Build networks and give them their weights."""
    towers = {}
    for about in architecture.towers:
        tower = ExportedTower(architecture, about)
        own = (f"{about.prefix}embedder.", "head.")
        tower.load_state_dict(
            {
                name.removeprefix(about.prefix): value
                for name, value in weights.items()
                if name.startswith(own)
            }
        )
        towers[about.name] = tower
    return towers


def _read(file: Path) -> dict[str, Tensor]:
    safetensors = require("safetensors", "export")
    if not file.is_file():
        raise ExportError(f"{file.parent} has no {file.name}; export the run with --format safetensors")
    try:
        weights: dict[str, Tensor] = require("safetensors.torch", "export").load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise ExportError(f"{file} cannot be read ({error}); export the run again") from error
    return weights
