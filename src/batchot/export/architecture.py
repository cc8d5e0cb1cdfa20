"""What an exported network is built of, as JSON can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from batchot.models.features import NetworkName
from batchot.models.metric_net import Activation
from batchot.models.view_pooling import Pooling

Takes = Literal["views", "cloud", "image"]
FORMAT = 1
"""Changed when an older package could not read what is written."""


@dataclass(frozen=True)
class Projection:
    """How a cloud becomes depth views, see `batchot.export.splat.SplatViews`.

    Args:
        cameras: name of a set of cameras
        size: height and width of a view, pixels
        radius: of a point, pixels
        margin: by what share the picture is wider than the unit sphere
    """

    cameras: str
    size: int
    radius: float
    margin: float


@dataclass(frozen=True)
class TowerArchitecture:
    """One network, from raw samples to embeddings.

    Args:
        name: of the tower, "model" where there is one only
        prefix: with which the names of its weights begin
        takes: views uint8 (b, v, c, h, w), a cloud float32 (b, p, 3) or an image uint8 (b, c, h, w)
        input_shape: of one sample, without b
        network: kind of the network of the features
        widths: of the metric network
        activation: of the metric network
        batch_norm: in the metric network, and in "lenet"
        channels: of the convolutions (lenet)
        backbone: name of the network of an image (cnn, mvcnn)
        backbone_config: settings of a backbone of transformers, by which it is built in the place of its name
        pooling: of views (mvcnn)
        mean: of the pixels in 0 .. 1, by channel; empty for clouds that are taken as they are
        std: the same
        projection: of clouds to views
        flip: average with the mirror image
        mirror_order: how views change places in the mirror
        channels_apart: each channel of a view is a picture of its own (mvcnn)
    """

    name: str
    prefix: str
    takes: Takes
    input_shape: tuple[int, ...]
    network: NetworkName
    widths: tuple[int, ...]
    activation: Activation
    batch_norm: bool
    channels: tuple[int, int]
    backbone: str
    backbone_config: dict[str, Any] | None
    pooling: Pooling
    mean: tuple[float, ...]
    std: tuple[float, ...]
    projection: Projection | None
    flip: bool
    mirror_order: tuple[int, ...] | None
    channels_apart: bool = False  # older exports do not say

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `Architecture.to_json` gave of a tower.

        Raises:
            TypeError: a part is missing or unknown
        """
        read: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if read.get("projection") is not None:
            read["projection"] = Projection(**read["projection"])
        return cls(**read)


@dataclass(frozen=True)
class Architecture:
    """Networks whose embeddings can be compared.

    Args:
        classes: names of the classes
        dimensions: width of the embeddings
        normalized: embeddings are unit vectors
        head: kind of the classifier; None: there is none
        head_scale: of a cosine classifier
        towers: the networks
    """

    classes: tuple[str, ...]
    dimensions: int
    normalized: bool
    head: Literal["linear", "cosine"] | None
    head_scale: float
    towers: tuple[TowerArchitecture, ...]

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold.

        >>> Architecture(("cup",), 8, True, None, 10.0, ()).to_json()["dimensions"]
        8
        """
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            ValueError: it is of another version, or damaged

        >>> made = Architecture(("cup",), 8, True, None, 10.0, ())
        >>> Architecture.from_json(made.to_json()) == made
        True
        """
        if values.get("format") != FORMAT:
            raise ValueError(f"format {values.get('format')!r} is not {FORMAT}, which this version reads")
        try:
            read = {field.name: values[field.name] for field in fields(cls)}
            towers = tuple(TowerArchitecture.from_json(tower) for tower in read.pop("towers"))
            return cls(**{**read, "classes": tuple(read["classes"]), "towers": towers})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged: {error}") from error
