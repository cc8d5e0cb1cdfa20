"""Recipe: everything that determines a training run, as frozen dataclasses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

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


class RecipeError(ValueError):
    """A recipe or one of its settings is wrong; the message says which one and what is allowed."""


def _require(condition: bool, setting: str, value: object, allowed: str) -> None:
    if not condition:
        raise RecipeError(f"{setting}: {value!r} is not allowed; it must be {allowed}")


def _require_name(setting: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known and not is_own(name):
        raise RecipeError(
            f"{setting}: {name!r} is not allowed; allowed: {', '.join(known)}, or module:name of your own"
        )


DataName = Literal[
    "mnist",
    "cifar10",
    "digits",
    "folder",
    "modelnet40",
    "modelnet10",
    "psb",
    "shape-folder",
    "library",
    "sketches",
    "quickdraw",
    "line-drawings",
    "shrec13-sketches",
    "shrec14-sketches",
    "shrec13-shapes",
    "shrec14-shapes",
    "shards",
]
IMAGE_SETS = ("mnist", "cifar10", "digits", "folder")
SKETCH_SOURCES = ("drawn", "quickdraw", "lines")
SHAPE_SETS = (
    "modelnet40",
    "modelnet10",
    "psb",
    "shape-folder",
    "library",
    "shrec13-shapes",
    "shrec14-shapes",
    "shards",
)


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
    folder: str | None = None
    image_size: int | None = None
    train_on: Literal["drawn", "quickdraw", "lines", "both"] | dict[str, float] = "drawn"
    quickdraw: str = "quickdraw*"
    per_class: int = 1000
    rename: dict[str, dict[str, str]] = field(default_factory=dict)
    limit: int | None = None
    shots: int | None = None
    validation: float = 0.0

    def __post_init__(self) -> None:
        _require_name("data.name", self.name, get_args(DataName))
        _require(0 <= self.validation < 1, "data.validation", self.validation, "in [0, 1)")
        _require(
            self.image_size is None or self.image_size >= 4,
            "data.image_size",
            self.image_size,
            ">= 4 or null",
        )
        _require(self.limit is None or self.limit >= 2, "data.limit", self.limit, ">= 2 or null")
        _require(self.shots is None or self.shots >= 2, "data.shots", self.shots, ">= 2 or null")
        _require(self.per_class >= 0, "data.per_class", self.per_class, ">= 0")
        shares = self.train_on if isinstance(self.train_on, dict) else {}
        for setting, names in (("data.train_on", shares), ("data.rename", self.rename)):
            if unknown := [name for name in names if name not in SKETCH_SOURCES]:
                raise RecipeError(
                    f"{setting}: there is no source {unknown[0]!r}; there are {', '.join(SKETCH_SOURCES)}"
                )
        _require(
            not isinstance(self.train_on, dict)
            or (all(0 <= share < math.inf for share in shares.values()) and sum(shares.values()) > 0),
            "data.train_on",
            self.train_on,
            "shares >= 0 of which one is greater",
        )

    @property
    def shapes(self) -> bool:
        """Whether these are shapes rather than images."""
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
        """Height and width of sketches, pixels."""
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

    views: Literal["rendered", "splatted"] = "rendered"
    cameras: Literal["circle-12", "dodecahedron-20", "box-6"] = "circle-12"
    size: int = 64
    channels: tuple[Literal["shaded", "depth", "silhouette", "lines"], ...] = ("shaded",)
    antialias: int = 2
    radius: float = 2.0
    margin: float = 0.1
    points: int = 1024
    prefer: Literal["any", "meshes", "points"] = "any"
    up: Literal["auto", "z", "y"] = "auto"
    parts: bool = False
    tolerance: float | None = None
    min_class: int = 1
    test_fraction: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        _require(8 <= self.size <= 1024, "shapes.size", self.size, "between 8 and 1024 pixels")
        _require(
            len(self.channels) >= 1 and len(set(self.channels)) == len(self.channels),
            "shapes.channels",
            self.channels,
            "one or more, each once",
        )
        _require(1 <= self.antialias <= 4, "shapes.antialias", self.antialias, "between 1 and 4")
        _require(self.radius > 0, "shapes.radius", self.radius, "> 0 pixels")
        _require(self.margin >= 0, "shapes.margin", self.margin, ">= 0")
        _require(self.points >= 1, "shapes.points", self.points, ">= 1")
        _require(
            self.tolerance is None or 1e-6 <= self.tolerance <= 1,
            "shapes.tolerance",
            self.tolerance,
            "between 1e-6 and 1",
        )
        _require(self.min_class >= 1, "shapes.min_class", self.min_class, ">= 1")
        _require(0 < self.test_fraction < 1, "shapes.test_fraction", self.test_fraction, "between 0 and 1")
        _require(self.split_seed >= 0, "shapes.split_seed", self.split_seed, ">= 0")


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
    shift: int = 0
    padding: Literal["zeros", "reflect"] = "zeros"
    cutout: int = 0
    scale: float = 0.0
    turn: float = 0.0
    jitter: float = 0.0
    thickness: float = 0.0
    elastic: float = 0.0
    tremor: float = 0.0
    stretch: float = 0.0
    rotations: int = 0
    gaps: int = 0
    hand: float = 0.0
    partial: float = 0.0

    def __post_init__(self) -> None:
        _require(self.thickness >= 0, "augment.thickness", self.thickness, ">= 0 pixels")
        _require(self.elastic >= 0, "augment.elastic", self.elastic, ">= 0 pixels")
        _require(self.tremor >= 0, "augment.tremor", self.tremor, ">= 0 pixels")
        _require(self.stretch >= 0, "augment.stretch", self.stretch, ">= 0")
        _require(self.rotations >= 0, "augment.rotations", self.rotations, ">= 0")
        _require(self.gaps >= 0, "augment.gaps", self.gaps, ">= 0 places")
        _require(self.hand >= 0, "augment.hand", self.hand, ">= 0")
        _require(0 <= self.partial <= 1, "augment.partial", self.partial, "in [0, 1]")
        _require(self.shift >= 0, "augment.shift", self.shift, ">= 0 pixels")
        _require(self.cutout >= 0, "augment.cutout", self.cutout, ">= 0 pixels")
        _require(0 <= self.scale < 1, "augment.scale", self.scale, "in [0, 1)")
        _require(self.turn >= 0, "augment.turn", self.turn, ">= 0 degrees")
        _require(self.jitter >= 0, "augment.jitter", self.jitter, ">= 0")


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
        freeze_norm: leave statistics and factors of the backbone's batch normalisation as they are (all)
        channels_apart: each channel of a view is a picture of its own (mvcnn)
        pooling: of the views' features (mvcnn)
        widths: widths of the fully connected layers of the metric network; the last is the embedding's
        activation: non-linearity between the fully connected layers
        batch_norm: batch normalisation after convolutions (lenet) and hidden fully connected layers
        dropout: share of the hidden units of the metric network that a step leaves out
    """

    name: Literal["lenet", "cnn", "mvcnn", "pointnet", "dgcnn"] = "lenet"
    channels: tuple[int, int] = (32, 64)
    backbone: str = "resnet18-w16"
    pretrained: str = "none"
    train: Literal["all", "head", "head-then-all"] = "all"
    frozen_layers: int | None = None
    kept_variants: int = 0
    freeze_norm: bool = False
    channels_apart: bool = False
    pooling: Literal["max", "mean", "max-mean", "attention", "concat"] = "max"
    widths: tuple[int, ...] = (512, 256)
    activation: Literal["sigmoid", "relu"] = "relu"
    batch_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _require(min(self.channels) >= 1, "model.channels", self.channels, "two numbers >= 1")
        _require(
            len(self.widths) >= 1 and min(self.widths) >= 1,
            "model.widths",
            self.widths,
            "one or more numbers >= 1",
        )
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        _require(
            self.frozen_layers is None
            or (self.frozen_layers >= 1 and self.backbone.startswith("efficientnet")),
            "model.frozen_layers",
            self.frozen_layers,
            ">= 1 and of an efficientnet-lite, or null",
        )
        _require(self.kept_variants >= 0, "model.kept_variants", self.kept_variants, ">= 0")
        _require(
            self.train == "all" or (self.pretrained != "none" and self.name in ("cnn", "mvcnn")),
            "model.train",
            self.train,
            "all where model.pretrained=none, as a backbone of random weights has nothing to keep",
        )


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
    margin: float = 1.0
    pos_margin: float = 0.0
    gamma: float = 3.0
    lam: float = 5.0
    lam_warmup: float = 0.0
    normalize: bool = True
    grad: Literal["detach", "implicit"] = "detach"
    distance_power: Literal[1, 2] = 2
    power: Literal[1, 2] = 1
    anchors: float = 0.0
    against: Literal["self", "halves"] = "self"
    options: dict[str, float] = field(default_factory=dict)
    weight: float = 1.0
    cross_entropy_weight: float = 0.0
    label_smoothing: float = 0.0
    head: Literal["linear", "cosine"] = "linear"
    head_scale: float = 10.0

    def __post_init__(self) -> None:
        _require_name("loss.name", self.name, tuple(LOSSES))
        _require(self.margin > 0, "loss.margin", self.margin, "> 0")
        _require(self.pos_margin >= 0, "loss.pos_margin", self.pos_margin, ">= 0")
        _require(self.gamma > 0, "loss.gamma", self.gamma, "> 0")
        _require(0 <= self.lam <= 1e4, "loss.lam", self.lam, "between 0 and 10,000")
        _require(0 <= self.lam_warmup <= 1, "loss.lam_warmup", self.lam_warmup, "in [0, 1]")
        farthest = 4.0 if self.distance_power == 2 else 2.0
        _require(
            self.name not in ("batch-ot", "uniform") or not self.normalize or self.margin <= farthest,
            "loss.margin",
            self.margin,
            f"<= {farthest:g} with loss.normalize=true, as normalised embeddings are never further apart",
        )
        _require(0 <= self.anchors <= 1, "loss.anchors", self.anchors, "in [0, 1]")
        _require(
            self.anchors == 0 or self.normalize or self.name not in ("batch-ot", "uniform"),
            "loss.anchors",
            self.anchors,
            "0 with loss.normalize=false, as the anchors lie on the unit sphere",
        )
        _require(self.weight >= 0, "loss.weight", self.weight, ">= 0")
        _require(
            self.cross_entropy_weight >= 0, "loss.cross_entropy_weight", self.cross_entropy_weight, ">= 0"
        )
        _require(0 <= self.label_smoothing < 1, "loss.label_smoothing", self.label_smoothing, "in [0, 1)")
        _require(self.head_scale > 0, "loss.head_scale", self.head_scale, "> 0")
        _require(
            self.weight > 0 or self.cross_entropy_weight > 0,
            "loss.weight",
            self.weight,
            "> 0 where loss.cross_entropy_weight is 0, as nothing would be trained",
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
    chunk: int = 0

    def __post_init__(self) -> None:
        _require(self.size >= 2, "batch.size", self.size, ">= 2")
        _require(
            self.chunk == 0 or self.chunk > 2 or (self.chunk == 2 and self.size % 2 == 0),
            "batch.chunk",
            self.chunk,
            "0, or large enough that every chunk has two samples, for batch normalisation",
        )
        _require(
            self.classes_per_batch is None or self.classes_per_batch >= 1,
            "batch.classes_per_batch",
            self.classes_per_batch,
            ">= 1 or null",
        )
        _require(
            self.classes_per_batch is None or self.sampler == "balanced",
            "batch.classes_per_batch",
            self.classes_per_batch,
            "null with batch.sampler=plain",
        )

    @property
    def at_once(self) -> int:
        """Most samples that go through the network at once."""
        return min(self.size, self.chunk or self.size)


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
    backbone_lr: float = 1.0
    layer_decay: float = 1.0
    clip: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        _require(self.lr > 0, "optim.lr", self.lr, "> 0")
        _require(0 <= self.momentum < 1, "optim.momentum", self.momentum, "in [0, 1)")
        _require(self.weight_decay >= 0, "optim.weight_decay", self.weight_decay, ">= 0")
        _require(self.muon_lr > 0, "optim.muon_lr", self.muon_lr, "> 0")
        _require(self.loss_lr_factor > 0, "optim.loss_lr_factor", self.loss_lr_factor, "> 0")
        _require(0 <= self.warmup < 1, "optim.warmup", self.warmup, "in [0, 1)")
        _require(0 <= self.final <= 1, "optim.final", self.final, "in [0, 1]")
        _require(0 < self.decay <= 1, "optim.decay", self.decay, "in (0, 1]")
        _require(self.backbone_lr > 0, "optim.backbone_lr", self.backbone_lr, "> 0")
        _require(0 < self.layer_decay <= 1, "optim.layer_decay", self.layer_decay, "in (0, 1]")
        _require(self.clip >= 0, "optim.clip", self.clip, ">= 0")
        _require(0 <= self.ema < 1, "optim.ema", self.ema, "in [0, 1)")
        _require(
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
        _require(self.batch >= 1, "evaluation.batch", self.batch, ">= 1")
        _require(self.recalibrate >= 0, "evaluation.recalibrate", self.recalibrate, ">= 0")
        _require(self.every >= 1, "evaluation.every", self.every, ">= 1")
        _require(self.train_samples >= 2, "evaluation.train_samples", self.train_samples, ">= 2")
        _require(self.neighbours >= 1, "evaluation.neighbours", self.neighbours, ">= 1")


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
        if self.batches is not None and self.batches < 1:
            raise RecipeError(f"together.batches: {self.batches} is not allowed; it must be >= 1 or null")
        if self.negatives < 0:
            raise RecipeError(f"together.negatives: {self.negatives} is not allowed; it must be >= 0")
        for name, weights in (("within", self.within), ("across", self.across)):
            for key, weight in weights.items():
                if not weight >= 0:
                    raise RecipeError(f"together.{name}.{key}: {weight} is not allowed; it must be >= 0")


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
    seed: int = 0
    precision: Literal["32", "bf16", "auto"] = "32"
    channels_last: bool = False
    checkpoint_minutes: float = 5.0
    first: dict[str, bool | int | float | str] = field(default_factory=dict)
    loss: LossSettings = field(default_factory=LossSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    together: TogetherSettings = field(default_factory=TogetherSettings)

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "epochs", self.epochs, ">= 1")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "in [0, 2^32)")
        _require(self.checkpoint_minutes > 0, "checkpoint_minutes", self.checkpoint_minutes, "> 0")
        for tower in self.towers.values():
            _require(
                self.loss.against == "self" or tower.batch.size % 2 == 0,
                "batch.size",
                tower.batch.size,
                "even with loss.against=halves",
            )
            _require(
                (tower.model.name in ("lenet", "cnn")) != tower.data.shapes,
                "model.name",
                tower.model.name,
                "mvcnn, pointnet or dgcnn for shapes, and lenet or cnn for images",
            )
        if self.several:
            _check_together(self)

    @property
    def several(self) -> bool:
        """Whether there are several towers."""
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
        """All pairs of towers, in their order."""
        names = list(self.towers)
        return [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]

    @property
    def parts(self) -> dict[str, Recipe]:
        """The recipe of each tower, as if there were no other."""
        return {name: _alone(self, tower) if self.several else self for name, tower in self.towers.items()}

    @property
    def data(self) -> DataSettings:
        """What the first tower embeds."""
        return self.towers[self.query].data

    @property
    def shapes(self) -> ShapeSettings:
        """How the first tower sees shapes."""
        return self.towers[self.query].shapes

    @property
    def augment(self) -> AugmentSettings:
        """How samples of the first tower are changed."""
        return self.towers[self.query].augment

    @property
    def model(self) -> ModelSettings:
        """The first network."""
        return self.towers[self.query].model

    @property
    def batch(self) -> BatchSettings:
        """How batches of the first tower are drawn."""
        return self.towers[self.query].batch


def _alone(recipe: Recipe, tower: TowerRecipe) -> Recipe:
    return replace(recipe, towers={ONLY: tower}, together=TogetherSettings())


def _check_together(recipe: Recipe) -> None:
    """Check what towers have to agree on."""
    together, towers, loss = recipe.together, recipe.towers, recipe.loss
    if loss.anchors and loss.name in ("batch-ot", "uniform"):
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
