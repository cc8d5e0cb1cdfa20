"""Recipe: everything that determines a training run, as frozen dataclasses.

A setting that only some recipes look at says at its default which (`used`); changing it in another is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from batchot.data.sets import IMAGE_SETS
from batchot.named import is_own
from batchot.towers.spec import ONLY, SKETCH_SETS, SKETCH_SIDE

LOSSES = {
    "batch-ot": "batchot.losses:BatchOTLoss",
    "uniform": "batchot.losses:BatchOTLoss",
    "contrastive": "ContrastiveLoss",
    "triplet": "TripletMarginLoss",
    # Its LiftedStructureLoss loops over pairs in Python, at batch 128 twenty times the step of the network; this is
    # the form of Hermans and others (2017), vectorised.
    "lifted": "GeneralizedLiftedStructureLoss",
    "npairs": "NPairsLoss",
    "multi-similarity": "MultiSimilarityLoss",
    "supcon": "SupConLoss",
    "proxy-anchor": "ProxyAnchorLoss",
    "arcface": "ArcFaceLoss",
    "circle": "CircleLoss",
    "cosface": "CosFaceLoss",
    "fast-ap": "FastAPLoss",
    "intra-pair-variance": "IntraPairVarianceLoss",
    "margin": "MarginLoss",
    "nca": "NCALoss",
    "normalized-softmax": "NormalizedSoftmaxLoss",
    "ntxent": "NTXentLoss",
    "pnp": "PNPLoss",
    "proxy-nca": "ProxyNCALoss",
    "signal-to-noise": "SignalToNoiseRatioContrastiveLoss",
    "smooth-ap": "SmoothAPLoss",
    "soft-triple": "SoftTripleLoss",
    "sub-center-arcface": "SubCenterArcFaceLoss",
    "threshold-consistent": "ThresholdConsistentMarginLoss",
    "tuplet-margin": "TupletMarginLoss",
}
"""Losses by their names in recipes: a class of pytorch-metric-learning, or MODULE:NAME of one of this package."""
if TYPE_CHECKING:
    LossName: TypeAlias = str
else:
    LossName = Literal[tuple(LOSSES)]

T = TypeVar("T")


class RecipeError(ValueError):
    """A recipe or one of its settings is wrong; the message says which one and what is allowed."""


def require(condition: bool, setting: str, value: object, allowed: str) -> None:
    """Refuse a value of a setting unless a condition holds."""
    if not condition:
        raise RecipeError(f"{setting}: {value!r} is not allowed; it must be {allowed}")


def require_name(setting: str, name: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is neither known nor of the user's own module."""
    if name not in known and not is_own(name):
        raise RecipeError(
            f"{setting}: {name!r} is not allowed; allowed: {', '.join(known)}, or module:name of your own"
        )


def in_range(settings: object, section: str, **rules: str) -> None:
    """Check numbers against rules such as "> 0 pixels", "in [0, 1)", ">= 2 or null" or "between 1 and 10,000"."""
    for name, rule in rules.items():
        value = getattr(settings, name)
        if value is not None:
            bounds = [
                float(n.replace(",", "")) for n in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?", rule)
            ]
            least, most = bounds[0], bounds[-1] if len(bounds) > 1 else math.inf
            above = value > least if rule.startswith(("> ", "in (")) else value >= least
            below = value < most if rule.endswith(")") else value <= most
            require(above and below, f"{section}.{name}".lstrip("."), value, rule)


class Where(NamedTuple):
    """The recipes that look at a setting."""

    words: str
    holds: Callable[[Recipe], bool]  # of one tower


def used(where: Where, default: T) -> T:
    """Give the default of a setting that only some recipes look at."""
    made: Any = (
        {"default_factory": lambda: {**default}} if isinstance(default, dict) else {"default": default}
    )
    found: T = field(**made, metadata={"where": where})
    return found


def _network(*names: str) -> Callable[[Recipe], bool]:
    return lambda r: r.model.name in names


def _divided(r: Recipe) -> bool:
    return r.data.name in ("psb", "shape-folder", "sketches", "quickdraw")


def _images(r: Recipe) -> bool:
    return not r.data.shapes and not r.data.drawn


def _seen(r: Recipe, views: str) -> bool:
    return r.model.name == "mvcnn" and r.shapes.views == views


def _clouds(r: Recipe) -> bool:
    return _seen(r, "splatted") or r.model.name in ("pointnet", "dgcnn")


DRAWN = Where("sketches", lambda r: r.data.drawn)
OF_FOLDERS = Where("data=folder and drawings", lambda r: r.data.name == "folder" or r.data.drawn)
READ = Where("sets that are read", lambda r: r.data.name not in ("digits", "library", "line-drawings"))
MIXED = Where("sketches of several sources", lambda r: r.data.mixed)
BESIDE = Where("train_on=quickdraw", lambda r: "quickdraw" in r.data.shares and r.data.name != "quickdraw")
LINES = Where("line drawings", lambda r: r.data.drawn and "lines" in r.data.shares)
QUICKDRAW = Where("quickdraw", lambda r: "quickdraw" in {*r.data.shares, r.data.name})
STROKES = Where(
    "sketches of quickdraw and lines", lambda r: r.data.drawn and not {*r.data.shares} <= {"drawn"}
)
IMAGES = Where("images", _images)
SHAPES = Where("shapes", lambda r: r.data.shapes)
FILES = Where("shape-folder", lambda r: r.data.name == "shape-folder")
MODELNET = Where("ModelNet", lambda r: r.data.name.startswith("modelnet"))
DIVIDED = Where("psb, shape-folder, sketches and quickdraw", _divided)
DIVIDED_SHAPES = Where("psb and shape-folder", lambda r: _divided(r) and r.data.shapes)
LENET = Where("model.name=lenet", _network("lenet"))
BACKBONES = Where("model.name=mvcnn and cnn", _network("mvcnn", "cnn"))
MVCNN = Where("model.name=mvcnn", _network("mvcnn"))
RENDERED = Where("shapes.views=rendered of model.name=mvcnn", lambda r: _seen(r, "rendered"))
SPLATTED = Where("shapes.views=splatted of model.name=mvcnn", lambda r: _seen(r, "splatted"))
CLOUDS = Where("splatted views and point networks", _clouds)
SHIFTED = Where("images and rendered views", lambda r: not r.data.shapes or _seen(r, "rendered"))
PADDED = Where("images and rendered views", lambda r: _images(r) or _seen(r, "rendered"))
SCALED = Where("sketches, splatted views and point networks", lambda r: _clouds(r) or r.data.drawn)
PRETRAINED = Where("pretrained backbones", lambda r: r.model.pretrained != "none")
HEAD = Where("model.train=head", lambda r: r.model.train == "head")
HEAD_FIRST = Where("model.train=head-then-all", lambda r: r.model.train == "head-then-all")
ABOVE = Where(
    "training above model.frozen_layers, or of all",
    lambda r: r.model.train != "head" or r.model.frozen_layers is not None,
)
NORMS = Where(
    "training above model.frozen_layers, or of all, of model.name=mvcnn and cnn",
    lambda r: _network("mvcnn", "cnn")(r) and ABOVE.holds(r),
)
CHUNKS = Where("batches that are larger than a chunk", lambda r: r.batch.chunk < r.batch.size)


SKETCH_SOURCES = ("drawn", "quickdraw", "lines")
SHAPE_SETS = (
    "modelnet40", "modelnet10", "psb", "shape-folder", "library", "shrec13-shapes", "shrec14-shapes",
    "shards",
)  # fmt: skip
if TYPE_CHECKING:
    DataName: TypeAlias = str
else:
    DataName = Literal[(*IMAGE_SETS, *SHAPE_SETS, *SKETCH_SETS)]


@dataclass(frozen=True)
class DataSettings:
    """Which images or shapes.

    Args:
        name: data set, found under --data-root; "folder" is any folder of class folders of images,
            "shape-folder" one of meshes and point clouds, "library" the built-in shapes, "sketches" any folder of
            class folders of drawings, "quickdraw" the strokes of Quick, Draw!, "line-drawings" drawings made from
            the shapes of a cross-modal recipe, "shards" what batchot render --shards has written;
            module:name is a function of your own that returns images as batchot.data.Splits
        folder: where in --data-root the set lies, or an absolute path (null: in the folder of its name, or in
            --data-root itself)
        image_size: side in pixels to which drawings and the images of a "folder" are scaled (null: images as they
            are, drawings 64)
        train_on: sketches that are trained on: "drawn", those of the data set; "quickdraw"; "lines", drawn from the
            training shapes of a cross-modal recipe; "both", drawn and lines as many as there are; or several, each
            with its share of a batch: {drawn: 1, quickdraw: 0.5}. An epoch shows each of the first about once. The
            test is always on those of the data set
        drawn_from: cameras from which shapes draw themselves: drawing-12 for what stands, drawing-18 for parts, which
            are drawn face on and lying as well
        quickdraw: where in --data-root the .ndjson files of Quick, Draw! lie, or an absolute path; * stands for
            any letters
        per_class: read so many drawings of each class of Quick, Draw! (0: all)
        rename: for each source of sketches, what its classes are called here, such as
            {quickdraw: {mug: beer-mug}}; names that differ in case, spaces and hyphens only are the same anyway
        limit: use only so many training samples, drawn at random (null: all)
        shots: train on so many samples of each class, drawn at random, and measure on all others, also those of a
            training part that the data brings (null: divide as the data says)
        validation: measure on this share of the training samples, the last ones of each class, and train on the
            others, so that settings can be chosen without a look at the test set (0: measure on the test set)
    """

    name: DataName | str
    folder: str | None = used(READ, None)
    image_size: int | None = used(OF_FOLDERS, None)
    train_on: Literal["drawn", "quickdraw", "lines", "both"] | dict[str, float] = used(DRAWN, "drawn")
    drawn_from: Literal["drawing-12", "drawing-18"] = used(LINES, "drawing-12")
    quickdraw: str = used(BESIDE, "quickdraw*")
    per_class: int = used(QUICKDRAW, 1000)
    rename: dict[str, dict[str, str]] = used(MIXED, {})
    limit: int | None = None
    shots: int | None = None
    validation: float = 0.0

    def __post_init__(self) -> None:
        require_name("data.name", self.name, get_args(DataName))
        some = dict.fromkeys(("limit", "shots"), ">= 2 or null")
        in_range(self, "data", image_size=">= 4 or null", per_class=">= 0", validation="in [0, 1)", **some)
        shares = self.train_on if isinstance(self.train_on, dict) else {}
        for setting, names in (("data.train_on", shares), ("data.rename", self.rename)):
            if unknown := [name for name in names if name not in SKETCH_SOURCES]:
                raise RecipeError(
                    f"{setting}: there is no source {unknown[0]!r}; there are {', '.join(SKETCH_SOURCES)}"
                )
        require(
            not isinstance(self.train_on, dict)
            or (all(0 <= share < math.inf for share in shares.values()) and sum(shares.values()) > 0),
            "data.train_on",
            self.train_on,
            "shares >= 0 of which one is greater",
        )

    @property
    def shapes(self) -> bool:
        return self.name in SHAPE_SETS

    @property
    def source(self) -> str:
        """Which source of sketches the data set itself is."""
        return {"quickdraw": "quickdraw", "line-drawings": "lines"}.get(self.name, "drawn")

    @property
    def shares(self) -> dict[str, float]:
        """Share of each source that is trained on, in their order; "drawn" is the data set, whichever it is."""
        named = self.train_on
        if isinstance(named, str):
            named = {"drawn": 1.0, "lines": 1.0} if named == "both" else {named: 1.0}
        found: dict[str, float] = {}
        for name, share in named.items():
            if share > 0:
                source = self.source if name == "drawn" else name
                found[source] = found.get(source, 0.0) + share
        return found

    @property
    def mixed(self) -> bool:
        """Whether sketches come from several sources, or from one whose classes are called otherwise elsewhere."""
        return self.drawn and (self.shares.keys() != {self.source} or self.source == "quickdraw")

    @property
    def sketch_size(self) -> int:
        return self.image_size or SKETCH_SIDE

    @property
    def drawn(self) -> bool:
        """Whether these are sketches or other line drawings."""
        return self.name in SKETCH_SETS


@dataclass(frozen=True)
class ShapeSettings:
    """How shapes are read and seen (data sets of shapes only).

    Args:
        views: "rendered" once and kept, from meshes or clouds; or "splatted": depth images of sampled points,
            made for each batch, so that the shape itself is augmented
        cameras: circle-12, dodecahedron-20 or box-6
        size: height and width of a view, pixels
        channels: what a rendered view shows: shaded, depth, silhouette, lines; one or more
        antialias: samples a pixel in each direction (rendered)
        radius: radius of a point in pixels (splatted)
        margin: by what share the picture is wider than the shape, so that augment.scale does not cut it (splatted)
        points: points of a cloud (splatted views and point networks); meshes are sampled
        prefer: where a data set is there both as meshes and as points, which of them
        up: the axis of the files that points up; "auto" is what the data set or the format says
        parts: each part of a STEP assembly is a shape of its own (shape-folder)
        tolerance: how far the triangles of a STEP or IGES file may be from its surfaces, as a share of its size; null:
            that of the reader (shape-folder)
        min_class: leave out classes of fewer shapes
        test_fraction: share of each class that is kept for the test where the data has no division
        split_seed: of that division
    """

    views: Literal["rendered", "splatted"] = used(MVCNN, "rendered")
    cameras: Literal["circle-12", "dodecahedron-20", "box-6"] = used(MVCNN, "circle-12")
    size: int = used(MVCNN, 64)
    channels: tuple[Literal["shaded", "depth", "silhouette", "lines"], ...] = used(RENDERED, ("shaded",))
    antialias: int = used(RENDERED, 2)
    radius: float = used(SPLATTED, 2.0)
    margin: float = used(SPLATTED, 0.1)
    points: int = used(CLOUDS, 1024)
    prefer: Literal["any", "meshes", "points"] = used(MODELNET, "any")
    up: Literal["auto", "z", "y"] = used(SHAPES, "auto")
    parts: bool = used(FILES, False)
    tolerance: float | None = used(FILES, None)
    min_class: int = used(DIVIDED_SHAPES, 1)
    test_fraction: float = used(DIVIDED, 0.2)
    split_seed: int = used(DIVIDED, 0)

    def __post_init__(self) -> None:
        counts = {"points": ">= 1", "min_class": ">= 1", "split_seed": ">= 0", "antialias": "between 1 and 4"}
        lengths = {"size": "between 8 and 1024 pixels", "radius": "> 0 pixels", "margin": ">= 0"}
        in_range(self, "shapes", **counts, **lengths, tolerance="between 1e-6 and 1")
        several = len(self.channels) >= 1 and len(set(self.channels)) == len(self.channels)
        require(several, "shapes.channels", self.channels, "one or more, each once")
        require(0 < self.test_fraction < 1, "shapes.test_fraction", self.test_fraction, "between 0 and 1")


@dataclass(frozen=True)
class AugmentSettings:
    """Random changes of the training samples, drawn anew in every epoch.

    Args:
        flip: mirror left-right with probability 1/2; a shape with all its views
        shift: move images and rendered views by up to so many pixels in x and y
        padding: what is moved in: zeros, or the image reflected at its border
        cutout: side in pixels of a square that is blanked in images (0: none)
        scale: multiply each axis of a cloud or a sketch by a factor in [1 - scale, 1 + scale]
        turn: turn a cloud about its upright axis, or a sketch in its plane, by an angle of this standard
            deviation, degrees
        jitter: move each point of a cloud by this standard deviation, in radii of the shape
        thickness: make the strokes of a sketch thinner or thicker by up to so many pixels
        elastic: bend a sketch smoothly, by this standard deviation in pixels
        tremor: bend its strokes as an unsteady hand does, likewise
        stretch: make a sketch wider and lower, or narrower and higher, by up to this logarithm of the factor
        rotations: turn a sketch by a multiple of 360 degrees / rotations (the paper: 20; 0: not)
        gaps: up to so many places where the strokes of a sketch are broken
        hand: how far recorded strokes (quickdraw, lines) are drawn anew by other hands and pens: 0 not at all, 1 as
            much as people differ
        partial: share of the sketches that are not finished yet: the first 25 to 100 % of the strokes, or of the
            ink along connected parts where strokes are not known; of the clouds that are seen from one side, as by a
            scanner
    """

    flip: bool = False
    shift: int = used(SHIFTED, 0)
    padding: Literal["zeros", "reflect"] = used(PADDED, "zeros")
    cutout: int = used(IMAGES, 0)
    scale: float = used(SCALED, 0.0)
    turn: float = used(SCALED, 0.0)
    jitter: float = used(CLOUDS, 0.0)
    thickness: float = used(DRAWN, 0.0)
    elastic: float = used(DRAWN, 0.0)
    tremor: float = used(DRAWN, 0.0)
    stretch: float = used(DRAWN, 0.0)
    rotations: int = used(DRAWN, 0)
    gaps: int = used(DRAWN, 0)
    hand: float = used(STROKES, 0.0)
    partial: float = used(SCALED, 0.0)

    def __post_init__(self) -> None:
        pixels = dict.fromkeys(("thickness", "elastic", "tremor", "shift", "cutout"), ">= 0 pixels")
        numbers = dict.fromkeys(("stretch", "rotations", "hand", "jitter"), ">= 0")
        others = {"gaps": ">= 0 places", "partial": "in [0, 1]", "scale": "in [0, 1)", "turn": ">= 0 degrees"}
        in_range(self, "augment", **pixels, **numbers, **others)


@dataclass(frozen=True)
class ModelSettings:
    """A network that makes features, and the metric network that makes embeddings of them.

    Args:
        name: "lenet" or "cnn" for images; "mvcnn" for the views of shapes; "pointnet" or "dgcnn" for clouds
        channels: channels of the two convolutions (lenet)
        backbone: network of an image or view (cnn, mvcnn): resnet18-w16 and other widths, alexnet, a model of
            Hugging Face by name or folder, or timm/NAME
        pretrained: weights of the backbone: "none", "package" (ImageNet weights of efficientnet-lite0, 1 and 2, by
            pip), "hub" (the user's cache or the network), a folder, or the folder of a run
        train: "all" of the network; the "head", that is what follows the frozen layers of the backbone, on features
            that are made once and kept; or "head-then-all", where a run of the head (in RUN/head) comes first, see
            first
        frozen_layers: layers of the backbone that are frozen, whose last maps are kept; those above belong to the
            head (null: all of them; efficientnet-lite0 has 18) (head)
        kept_variants: augmented forms of each training sample whose features are kept (head)
        freeze_norm: leave statistics and factors of the backbone's batch normalisation as they are
        channels_apart: each channel of a view is a picture of its own (mvcnn)
        pooling: of the views' features (mvcnn)
        widths: widths of the fully connected layers of the metric network; the last is the embedding's
        activation: non-linearity between the fully connected layers
        batch_norm: batch normalisation after convolutions (lenet) and hidden fully connected layers
        dropout: share of the hidden units of the metric network that a step leaves out
    """

    name: Literal["lenet", "cnn", "mvcnn", "pointnet", "dgcnn"] = "lenet"
    channels: tuple[int, int] = used(LENET, (32, 64))
    backbone: str = used(BACKBONES, "resnet18-w16")
    pretrained: str = used(BACKBONES, "none")
    train: Literal["all", "head", "head-then-all"] = used(PRETRAINED, "all")
    frozen_layers: int | None = used(HEAD, None)
    kept_variants: int = used(HEAD, 0)
    freeze_norm: bool = used(NORMS, False)
    channels_apart: bool = used(MVCNN, False)
    pooling: Literal["max", "mean", "max-mean", "attention", "concat"] = used(MVCNN, "max")
    widths: tuple[int, ...] = (512, 256)
    activation: Literal["sigmoid", "relu"] = "relu"
    batch_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        in_range(self, "model", dropout="in [0, 1)", kept_variants=">= 0")
        require(min(self.channels) >= 1, "model.channels", self.channels, "two numbers >= 1")
        some = len(self.widths) >= 1 and min(self.widths) >= 1
        require(some, "model.widths", self.widths, "one or more numbers >= 1")
        require(
            self.frozen_layers is None
            or (self.frozen_layers >= 1 and self.backbone.startswith("efficientnet")),
            "model.frozen_layers",
            self.frozen_layers,
            ">= 1 and of an efficientnet-lite, or null",
        )
        require(
            self.train == "all" or (self.pretrained != "none" and self.name in ("cnn", "mvcnn")),
            "model.train",
            self.train,
            "all where model.pretrained=none, as a backbone of random weights has nothing to keep",
        )


@dataclass(frozen=True)
class BatchSettings:
    """How batches are drawn.

    Args:
        size: samples a batch
        sampler: "plain" shuffles; "balanced" draws equally many samples of each class of a batch
        classes_per_batch: classes a balanced batch holds (null: all, or as many as leave two samples of each; the
            batch is made smaller where it would not divide evenly)
        chunk: most samples of a batch that the network sees at once, so that its memory is that of a chunk; the loss
            is on the whole batch. Costs a second forward pass (0: the whole batch at once)
    """

    size: int = 128
    sampler: Literal["plain", "balanced"] = "plain"
    classes_per_batch: int | None = None
    chunk: int = used(CHUNKS, 0)

    def __post_init__(self) -> None:
        in_range(self, "batch", size=">= 2", classes_per_batch=">= 1 or null")
        require(
            self.chunk == 0 or self.chunk > 2 or (self.chunk == 2 and self.size % 2 == 0),
            "batch.chunk",
            self.chunk,
            "0, or large enough that every chunk has two samples, for batch normalisation",
        )
        require(
            self.classes_per_batch is None or self.sampler == "balanced",
            "batch.classes_per_batch",
            self.classes_per_batch,
            "null with batch.sampler=plain",
        )

    @property
    def at_once(self) -> int:
        """Most samples that go through the network at once."""
        return min(self.size, self.chunk or self.size)


TRANSPORT = Where(
    "batch-ot and uniform; the settings of others are loss.options.NAME=VALUE", lambda r: r.loss.of_transport
)
PLAN = Where("batch-ot, which has a transport problem", lambda r: r.loss.name == "batch-ot")


@dataclass(frozen=True)
class LossSettings:
    """Metric loss, and optionally cross-entropy of a linear head beside it.

    Args:
        name: the loss; all but "batch-ot" and "uniform" are those of pytorch-metric-learning; or module:name of your
            own
        margin: eps, margin of negative pairs (batch-ot and uniform)
        pos_margin: distance below which a positive pair costs nothing (batch-ot and uniform)
        gamma: sharpness of the ground distance exp(-gamma M) (batch-ot)
        lam: lambda, weight of the transport cost against the entropy (batch-ot)
        lam_warmup: share of all steps in which lambda rises from 0, the uniform plan, to lam (batch-ot)
        normalize: L2-normalise the embeddings (batch-ot and uniform)
        grad: "detach" holds the plan fixed, "implicit" differentiates through it (batch-ot)
        distance_power: distances between embeddings are ||x - y|| to this power (batch-ot and uniform)
        power: power of the hinges of M (batch-ot and uniform)
        anchors: weight of the transport to class anchors (batch-ot and uniform; 0: none, as in the paper)
        against: pairs within the batch ("self"), or between its first and second half ("halves")
        options: keyword arguments of a loss of pytorch-metric-learning, or of your own
        weight: factor of the metric loss
        cross_entropy_weight: factor of the cross-entropy of a linear head (0: no head)
        label_smoothing: label smoothing of that cross-entropy
        head: "linear" on the embedding, or "cosine": scaled cosines to one unit vector a class
        head_scale: scale of the cosine head
    """

    name: LossName | str = "batch-ot"
    margin: float = used(TRANSPORT, 1.0)
    pos_margin: float = used(TRANSPORT, 0.0)
    gamma: float = used(PLAN, 3.0)
    lam: float = used(PLAN, 5.0)
    lam_warmup: float = used(PLAN, 0.0)
    normalize: bool = used(TRANSPORT, True)
    grad: Literal["detach", "implicit"] = used(PLAN, "detach")
    distance_power: Literal[1, 2] = used(TRANSPORT, 2)
    power: Literal[1, 2] = used(TRANSPORT, 1)
    anchors: float = used(TRANSPORT, 0.0)
    against: Literal["self", "halves"] = "self"
    options: dict[str, float] = field(default_factory=dict)
    weight: float = 1.0
    cross_entropy_weight: float = 0.0
    label_smoothing: float = 0.0
    head: Literal["linear", "cosine"] = "linear"
    head_scale: float = 10.0

    def __post_init__(self) -> None:
        require_name("loss.name", self.name, tuple(LOSSES))
        positive = dict.fromkeys(("margin", "gamma", "head_scale"), "> 0")
        others = dict.fromkeys(("pos_margin", "weight", "cross_entropy_weight"), ">= 0")
        shares = {"lam_warmup": "in [0, 1]", "anchors": "in [0, 1]", "label_smoothing": "in [0, 1)"}
        in_range(self, "loss", **positive, **others, **shares, lam="between 0 and 10,000")
        farthest = 4.0 if self.distance_power == 2 else 2.0
        require(
            not self.of_transport or not self.normalize or self.margin <= farthest,
            "loss.margin",
            self.margin,
            f"<= {farthest:g} with loss.normalize=true, as normalised embeddings are never further apart",
        )
        require(
            self.anchors == 0 or self.normalize or not self.of_transport,
            "loss.anchors",
            self.anchors,
            "0 with loss.normalize=false, as the anchors lie on the unit sphere",
        )
        require(
            self.weight > 0 or self.cross_entropy_weight > 0,
            "loss.weight",
            self.weight,
            "> 0 where loss.cross_entropy_weight is 0, as nothing would be trained",
        )

    @property
    def of_transport(self) -> bool:
        """Whether the loss is that of transport, or of its uniform plan."""
        return self.name in ("batch-ot", "uniform")


@dataclass(frozen=True)
class OptimSettings:
    """Optimiser and learning rate, changed at every step.

    Args:
        name: optimiser; "muon" orthogonalises the steps of the convolutions and leaves the rest to AdamW
        lr: highest learning rate
        momentum: momentum of SGD and Muon; beta_1 of Adam and AdamW
        muon_lr: highest learning rate of the convolutions under Muon
        nesterov: Nesterov's momentum (SGD)
        weight_decay: weight decay, not applied to biases and normalisations
        loss_lr_factor: factor of the learning rate for parameters of the loss itself (proxy-anchor)
        schedule: "one-cycle" (linear up, then linear down to final), "cosine" (linear up, then cosine down to
            final), "exponential" (times decay an epoch) or "constant"
        warmup: share of all steps in which the rate goes up (one-cycle and cosine)
        final: last learning rate as a share of lr (one-cycle and cosine)
        decay: factor an epoch (exponential)
        backbone_lr: factor of the learning rates for the backbone
        layer_decay: further factor for each layer of the backbone below the last one (efficientnet-lite)
        clip: largest norm of the gradient (0: none)
        ema: decay a step of the averaged weights that are evaluated and kept (0: no averaging)
    """

    name: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    lr: float = 1e-3
    momentum: float = 0.9
    muon_lr: float = 0.02
    nesterov: bool = False
    weight_decay: float = 0.0
    loss_lr_factor: float = 1.0
    schedule: Literal["one-cycle", "cosine", "exponential", "constant"] = "one-cycle"
    warmup: float = 0.3
    final: float = 0.0
    decay: float = 0.95
    backbone_lr: float = used(ABOVE, 1.0)
    layer_decay: float = used(ABOVE, 1.0)
    clip: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        rates = dict.fromkeys(("lr", "muon_lr", "loss_lr_factor", "backbone_lr"), "> 0")
        shares = dict.fromkeys(("momentum", "warmup", "ema"), "in [0, 1)")
        decays = dict.fromkeys(("decay", "layer_decay"), "in (0, 1]")
        others = {"weight_decay": ">= 0", "clip": ">= 0", "final": "in [0, 1]"}
        in_range(self, "optim", **rates, **shares, **decays, **others)
        require(
            not self.nesterov or (self.name == "sgd" and self.momentum > 0),
            "optim.nesterov",
            self.nesterov,
            "false unless optim.name=sgd with optim.momentum > 0",
        )


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured on the test set.

    Args:
        every: epochs between evaluations (the last epoch is always evaluated)
        also: further epochs that are evaluated, such as [1]
        train_samples: training samples, drawn at random once, whose embeddings classify the test samples
        svm: fit the paper's SVM in the "last" epoch only (before it: nearest neighbours) or "always"
        neighbours: k of the k-nearest-neighbour accuracy
        flip: average the embeddings of each image or shape and its mirror image
        batch: samples embedded at once
        recalibrate: training batches from which the statistics of batch normalisation are computed anew for each
            evaluation (0: the running averages are used)
    """

    every: int = 1
    also: tuple[int, ...] = ()
    train_samples: int = 10_000
    svm: Literal["last", "always"] = "last"
    neighbours: int = 20
    flip: bool = False
    batch: int = 100
    recalibrate: int = 0

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("batch", "every", "neighbours"), ">= 1")
        in_range(self, "evaluation", recalibrate=">= 0", train_samples=">= 2", **counts)


@dataclass(frozen=True)
class TogetherSettings:
    """How towers are trained together and measured against each other.

    Args:
        gallery: "all" trains on all targets and retrieves from all of them, as SHREC does; "test" trains on the
            training targets and retrieves from those of the test, which the run has never seen
        within: factor of the metric loss within a tower, by its name (1 for those that are not named)
        across: factor of the metric loss between two towers, by both names such as sketch-shape (1 likewise)
        four_terms: the authors' form: each batch in halves, terms half against half and first (second) halves
            across
        batches: batches an epoch (null: as many as show each training query about once)
        negatives: targets of classes that no query has that are added to each batch as negatives
        share: weights that all towers have in common: "none", those of the "backbone", or "all"
        norm: shared weights with batch normalisation of each tower's own ("separate"), or in common ("shared")
        rename: for each tower, what its classes are called here, such as {sketch: {dog: Quadruped}}
    """

    gallery: Literal["all", "test"] = "all"
    within: dict[str, float] = field(default_factory=dict)
    across: dict[str, float] = field(default_factory=dict)
    four_terms: bool = False
    batches: int | None = None
    negatives: int = 0
    share: Literal["none", "backbone", "all"] = "none"
    norm: Literal["separate", "shared"] = "separate"
    rename: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        in_range(self, "together", batches=">= 1 or null", negatives=">= 0")
        for name, weights in (("within", self.within), ("across", self.across)):
            for key, weight in weights.items():
                require(weight >= 0, f"together.{name}.{key}", weight, ">= 0")


@dataclass(frozen=True)
class TowerRecipe:
    """What a tower embeds, and by which network."""

    data: DataSettings
    shapes: ShapeSettings = field(default_factory=ShapeSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)


@dataclass(frozen=True)
class Recipe:
    """What determines a training run: two runs of one recipe on one machine give the same numbers.

    Args:
        name: short name, used for the run folder
        towers: what each embeds; the first is the queries, the last the gallery. Where there is one only it is called
            "model", and its queries are looked for among themselves
        about: one line on what the recipe does
        epochs: passes over the training samples
        max_steps: no more training steps than these in whole epochs (one at least): fewer epochs for more samples
        seed: of the weights, the batches and the augmentation
        precision: "32", "bf16" for autocast to bfloat16, or "auto": bfloat16 where the device computes in it
        channels_last: keep images and views in channels-last order, which is faster for some networks
        checkpoint_minutes: minutes between checkpoints within an epoch (one is written at each epoch's end)
        first: settings of the run of the head where they differ, by dotted name, such as {epochs: 10, optim.lr: 0.001}
            (model.train=head-then-all)
        loss, optim, evaluation: of all towers
        together: how several towers are trained and measured together
    """

    name: str
    towers: dict[str, TowerRecipe]
    about: str = ""
    epochs: int = 5
    max_steps: int | None = None
    seed: int = 0
    precision: Literal["32", "bf16", "auto"] = "32"
    channels_last: bool = False
    checkpoint_minutes: float = 5.0
    first: dict[str, bool | int | float | str] = used(HEAD_FIRST, {})
    loss: LossSettings = field(default_factory=LossSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    together: TogetherSettings = field(default_factory=TogetherSettings)

    def __post_init__(self) -> None:
        in_range(self, "", epochs=">= 1", checkpoint_minutes="> 0")
        require(self.max_steps is None or self.max_steps >= 1, "max_steps", self.max_steps, "null or >= 1")
        require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2^32)")
        for tower in self.towers.values():
            require(
                self.loss.against == "self" or tower.batch.size % 2 == 0,
                "batch.size",
                tower.batch.size,
                "even with loss.against=halves",
            )
            require(
                (tower.model.name in ("lenet", "cnn")) != tower.data.shapes,
                "model.name",
                tower.model.name,
                "mvcnn, pointnet or dgcnn for shapes, and lenet or cnn for images",
            )
        if self.several:
            _check_together(self)

    def for_steps(self, steps_per_epoch: int) -> Recipe:
        """The recipe with as many epochs as `max_steps` admits."""
        admitted = self.epochs if self.max_steps is None else max(1, self.max_steps // steps_per_epoch)
        return replace(self, epochs=min(self.epochs, admitted))

    @property
    def several(self) -> bool:
        return len(self.towers) > 1

    @property
    def query(self) -> str:
        """Name of the tower whose test samples are the queries."""
        return next(iter(self.towers))

    @property
    def target(self) -> str:
        """Name of the tower whose samples are the gallery."""
        return list(self.towers)[-1]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        names = list(self.towers)
        return [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]

    @property
    def parts(self) -> dict[str, Recipe]:
        """The recipe of each tower, as if there were no other."""
        if not self.several:
            return {self.query: self}
        alone = TogetherSettings()
        return {name: replace(self, towers={ONLY: t}, together=alone) for name, t in self.towers.items()}

    @property
    def data(self) -> DataSettings:
        return self.towers[self.query].data

    @property
    def shapes(self) -> ShapeSettings:
        return self.towers[self.query].shapes

    @property
    def augment(self) -> AugmentSettings:
        return self.towers[self.query].augment

    @property
    def model(self) -> ModelSettings:
        return self.towers[self.query].model

    @property
    def batch(self) -> BatchSettings:
        return self.towers[self.query].batch


def _check_together(recipe: Recipe) -> None:
    """Check what towers have to agree on."""
    together, towers, loss = recipe.together, recipe.towers, recipe.loss
    if loss.anchors and loss.of_transport:
        raise RecipeError("loss.anchors has no effect here: it applies to recipes of a single network")
    widths = {name: tower.model.widths[-1] for name, tower in towers.items()}
    if len(set(widths.values())) > 1:
        raise RecipeError(f"model.widths: all towers must end in one width, these end in {widths}")
    pairs = ["-".join(pair) for pair in recipe.pairs]
    named: dict[str, tuple[Iterable[str], list[str]]] = {
        "within": (together.within, [*towers]),
        "across": (together.across, pairs),
        "rename": (together.rename, [*towers]),
    }
    for section, (names, known) in named.items():
        if unknown := [name for name in names if name not in known]:
            raise RecipeError(f"together.{section}: there is no {unknown[0]!r}; there are {', '.join(known)}")
    if together.share != "none":
        backbones = {(t.model.name in ("cnn", "mvcnn"), t.model.backbone) for t in towers.values()}
        if len(backbones) > 1 or not next(iter(backbones))[0]:
            raise RecipeError(
                "together.share: towers that share weights need one and the same model.backbone"
            )
        metric = {(t.model.widths, t.model.activation, t.model.batch_norm) for t in towers.values()}
        if together.share == "all" and len(metric) > 1:
            raise RecipeError("together.share: all needs one and the same metric network in all towers")
