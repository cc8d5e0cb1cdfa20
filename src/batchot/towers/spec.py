"""What a trained network is built of and what it takes: all that its use needs, as JSON can hold it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from batchot.errors import SearchError

if TYPE_CHECKING:
    from batchot.data.cloud_reading import CloudSettings
    from batchot.models.backbones import NetworkName
    from batchot.models.heads import Activation
    from batchot.models.mvcnn import Pooling
    from batchot.shapes.views.settings import ViewSettings

Takes = Literal["views", "cloud", "image"]
FORMAT = 2
"""Changed when an older package could not read what is written; 1 had a list of towers, each with its name."""
ABOUT_FORMAT = 1
"""The same for what is written into batchot.json of an export."""
ONLY = "model"
"""Name of the tower of a network that has one only."""
EXPORTED, ARCHITECTURE, WEIGHTS = "batchot.json", "architecture.json", "model.safetensors"
"""Files of a folder of ``batchot export``; by the first it is known."""


@dataclass(frozen=True)
class Projection:
    """How a cloud becomes depth views, see `batchot.towers.tower.SplatViews`."""

    cameras: str  # name of a set of cameras
    size: int  # height and width of a view, pixels
    radius: float  # of a point, pixels
    margin: float  # by what share the picture is wider than the unit sphere


@dataclass(frozen=True)
class TowerSpec:
    """One network, from raw samples to embeddings."""

    takes: Takes  # views uint8 (b, v, c, h, w), a cloud float32 (b, p, 3) or an image uint8 (b, c, h, w)
    input_shape: tuple[int, ...]  # of one raw sample, without b
    network: NetworkName  # kind of the network of the features
    widths: tuple[int, ...]  # of the metric network
    activation: Activation  # of the metric network
    batch_norm: bool  # in the metric network, and in "lenet"
    channels: tuple[int, int]  # of the convolutions (lenet)
    backbone: str  # name of the network of an image (cnn, mvcnn)
    # settings of a backbone of transformers, by which it is built in the place of its name
    backbone_config: dict[str, Any] | None
    pooling: Pooling  # of views (mvcnn)
    # of the pixels in 0 .. 1, by channel; empty for clouds that are taken as they are
    mean: tuple[float, ...]
    std: tuple[float, ...]  # the same
    projection: Projection | None  # of clouds to views
    flip: bool  # average with the mirror image
    mirror_order: tuple[int, ...] | None  # how views change places in the mirror
    channels_apart: bool = False  # each channel of a view is a picture of its own
    dropout: float = 0.0  # of the metric network, in training
    channels_last: bool = False  # lay samples out with their channels last
    # how files become samples, a part of `batchot.towers.spec.Inputs.to_json`; None: only its data set knows
    seen: dict[str, Any] | None = None
    data: str = ""  # name of the data set that it was trained on

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        read: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known
        }
        if read.get("projection") is not None:
            read["projection"] = Projection(**read["projection"])
        return cls(**read)


@dataclass(frozen=True)
class EmbedderSpec:
    """Networks whose embeddings can be compared; the first takes the queries, the last the gallery."""

    classes: tuple[str, ...]  # names of the classes
    dimensions: int  # width of the embeddings
    normalized: bool  # embeddings are unit vectors
    head: Literal["linear", "cosine"] | None  # kind of the classifier; None: there is none
    head_scale: float  # of a cosine classifier
    towers: dict[str, TowerSpec]
    share: Literal["none", "backbone", "all"] = "none"  # weights that all towers have in common
    separate_norm: bool = True  # each tower has batch normalisation of its own where they share weights

    @property
    def gallery(self) -> str | None:
        """Name of the tower of shapes that are looked for; None where there is none."""
        name = list(self.towers)[-1]
        return None if self.towers[name].takes == "image" else name

    @property
    def drawing(self) -> str | None:
        """Name of the tower of drawings that are looked up among the shapes; None where there is none."""
        name, tower = next(iter(self.towers.items()))
        return name if self.gallery is not None and tower.takes == "image" and tower.seen else None

    @property
    def inputs(self) -> dict[str, Any] | None:
        """How shapes and drawings are made ready, see `batchot.towers.spec.Inputs`; None without shapes."""
        if self.gallery is None or self.towers[self.gallery].seen is None:
            return None
        drawing = None if self.drawing is None else self.towers[self.drawing].seen
        return {"shape": self.towers[self.gallery].seen, "drawing": drawing}

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, of this format or of an older one."""
        if values.get("format") not in (1, FORMAT):
            raise ValueError(f"format {values.get('format')!r} is not {FORMAT}, which this version reads")
        try:
            read = {field.name: values[field.name] for field in fields(cls) if field.name in values}
            towers = read["towers"]
            named = towers if isinstance(towers, Mapping) else {tower["name"]: tower for tower in towers}
            read["towers"] = {name: TowerSpec.from_json(tower) for name, tower in named.items()}
            return cls(**{**read, "classes": tuple(read["classes"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged: {error}") from error

    def fingerprint(self, weights: Mapping[str, NDArray]) -> str:
        """Give 64 hexadecimal digits that are the same for the same network, as a run and exported."""
        digest = hashlib.sha256(json.dumps(self.inputs, sort_keys=True).encode())
        weights = self.short_names(weights)
        for name in sorted(weights):
            value = np.ascontiguousarray(weights[name])
            digest.update(f"\0{name}\0{value.dtype}\0{value.shape}\0".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()

    def short_names(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """Give weights by their names in exports, where the only tower has no name."""
        only = f"towers.{next(iter(self.towers))}." if len(self.towers) == 1 else ""
        return {name.removeprefix(only): value for name, value in weights.items()}


def full_names(weights: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give weights by their names in an `Embedder`, from exports and from runs that were made before towers."""
    old = f"{prefix}embedder."
    return {
        f"{prefix}towers.{ONLY}.{name.removeprefix(prefix)}" if name.startswith(old) else name: value
        for name, value in weights.items()
    }


SKETCH_SETS = ("sketches", "quickdraw", "line-drawings", "shrec13-sketches", "shrec14-sketches")
SKETCH_SIDE = 64
"""Height and width of drawings where nothing is said, pixels."""


class Samples(NamedTuple):
    """What the training data of a tower says of its network."""

    shape: tuple[int, ...]  # of a sample as the network gets it
    mean: tuple[float, ...]  # of the pixels, by channel; empty for clouds
    std: tuple[float, ...]


def describe(
    settings: Mapping[str, Any], classes: tuple[str, ...], normalized: bool, samples: Mapping[str, Samples]
) -> EmbedderSpec:
    """Say what the network of a run is; settings that an older run does not have are as they were then."""
    loss, together = settings["loss"], settings.get("together", {})
    named = settings.get("towers", {ONLY: settings})
    towers = {name: _tower({**settings, **own}, samples[name]) for name, own in named.items()}
    return EmbedderSpec(
        classes=classes,
        dimensions=next(iter(towers.values())).widths[-1],
        normalized=normalized,
        head=loss.get("head", "linear") if loss["cross_entropy_weight"] > 0 else None,
        head_scale=loss.get("head_scale", 10.0),
        towers=towers,
        share=together.get("share", "none"),
        separate_norm=together.get("norm", "separate") == "separate",
    )


def _tower(settings: Mapping[str, Any], samples: Samples) -> TowerSpec:
    data, model, shapes = settings["data"], settings["model"], settings.get("shapes", {})
    network = model["name"]
    of_shapes, rendered = network not in ("lenet", "cnn"), False
    order, projection, seen = None, None, None
    if network == "mvcnn":
        from batchot.shapes.render.cameras import make_cameras, mirror_order

        rendered = shapes["views"] == "rendered"
        order = mirror_order(make_cameras(shapes["cameras"]).rotations)
        if not rendered:
            projection = Projection(shapes["cameras"], shapes["size"], shapes["radius"], shapes["margin"])
    if of_shapes:
        seen = _views(shapes) if rendered else _cloud(shapes)
    elif data["name"] in SKETCH_SETS:
        seen = {"size": data.get("image_size") or SKETCH_SIDE}
    cloud = of_shapes and not rendered
    return TowerSpec(
        takes="cloud" if cloud else "views" if of_shapes else "image",
        input_shape=(shapes["points"], 3) if cloud else samples.shape,
        network=network,
        widths=tuple(model["widths"]),
        activation=model["activation"],
        batch_norm=model["batch_norm"],
        channels=tuple(model["channels"]),
        backbone=model["backbone"],
        backbone_config=None,
        pooling=model["pooling"],
        mean=samples.mean,
        std=samples.std,
        projection=projection,
        flip=settings["evaluation"].get("flip", False),
        mirror_order=order,
        channels_apart=model.get("channels_apart", False),
        dropout=model.get("dropout", 0.0),
        channels_last=settings.get("channels_last", False),
        seen=seen,
        data=data["name"],
    )


def _views(shapes: Mapping[str, Any]) -> dict[str, Any]:
    from batchot.shapes.views.settings import ViewSettings

    names = ("cameras", "size", "antialias", "up")
    given = {name: shapes[name] for name in names if name in shapes}
    settings = ViewSettings(**given, channels=tuple(shapes["channels"]))
    return dict(Inputs(ViewsInput(settings)).to_json()["shape"])


def _cloud(shapes: Mapping[str, Any]) -> dict[str, Any]:
    from batchot.data.cloud_reading import CloudSettings

    return dict(Inputs(CloudInput(CloudSettings(shapes["points"], too_few="repeat"))).to_json()["shape"])


@dataclass(frozen=True)
class ViewsInput:
    """Rendered views, uint8, (v, c, h, w)."""

    settings: ViewSettings  # from where and how a shape is seen; its cameras are those of a name

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.settings.view_shape


@dataclass(frozen=True)
class CloudInput:
    """Points of the surface, float32, (p, 3): centred, in the unit sphere, z up."""

    settings: CloudSettings  # how many points, and which

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.settings.points, 3)


@dataclass(frozen=True)
class DrawingInput:
    """Dark strokes on white, uint8, (1, size, size)."""

    size: int  # height and width in pixels

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (1, self.size, self.size)


@dataclass(frozen=True)
class PhotoInput:
    """A photo of an object, uint8, (3, size, size)."""

    size: int  # height and width in pixels

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)


@dataclass(frozen=True)
class Inputs:
    """How queries and shapes are made ready."""

    shape: ViewsInput | CloudInput  # as what the network sees a shape
    drawing: DrawingInput | None = None  # as what it sees a drawing; None: it takes no drawings
    photo: PhotoInput | None = None  # as what a photo is compared with the views; None: it is not

    def to_json(self) -> dict[str, Any]:
        if isinstance(self.shape, ViewsInput) and not isinstance(self.shape.settings.cameras, str):
            raise SearchError("cameras without a name cannot be stored; train with a set that has one")
        settings = asdict(self.shape.settings)
        shape = {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}
        photo = {} if self.photo is None else {"photo": {"size": self.photo.size}}
        return {
            "shape": shape,
            "drawing": None if self.drawing is None else {"size": self.drawing.size},
            **photo,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Inputs:
        from batchot.data.cloud_reading import CloudSettings
        from batchot.shapes.views.settings import ViewSettings

        try:
            shape, drawing, photo = dict(values["shape"]), values["drawing"], values.get("photo")
            made: ViewsInput | CloudInput
            if "points" in shape:
                made = CloudInput(CloudSettings(**shape))
            else:
                made = ViewsInput(ViewSettings(**{**shape, "channels": tuple(shape["channels"])}))
            return cls(
                made,
                None if drawing is None else DrawingInput(int(drawing["size"])),
                None if photo is None else PhotoInput(int(photo["size"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(f"the description of what the network takes is damaged ({error})") from error
