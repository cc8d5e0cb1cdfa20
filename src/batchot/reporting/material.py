"""All that a report is made from, whatever the items are and whatever trained the network."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from batchot.data import Images, Samples
from batchot.losses import BatchOTSettings

if TYPE_CHECKING:
    from batchot.training.callbacks import Row
    from batchot.training.losses import PlanRow


@dataclass(frozen=True, eq=False)
class Items:
    """Items of one modality as its network sees them, and a small picture of each."""

    embeddings: Tensor  # (n, d)
    labels: Tensor  # (n,) int64
    thumbnails: Tensor  # (n, c, h, w) uint8
    names: tuple[str, ...] | None = None  # such as "guitar/10231"; None: they are numbered

    def __post_init__(self) -> None:
        self._check()

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, item: int) -> str:
        """Give the name of an item, or its number where items have no names."""
        return f"#{item}" if self.names is None else self.names[item]

    def _check(self, **others: Tensor | None) -> None:
        n, x, pictures = len(self), self.embeddings, self.thumbnails
        if n == 0:
            raise ValueError("a report needs test items; there is none")
        if x.ndim != 2 or not x.is_floating_point():
            raise ValueError(
                f"embeddings must be floating point of shape (n, d), got {x.dtype} {tuple(x.shape)}"
            )
        if pictures.ndim != 4 or pictures.dtype != torch.uint8:
            raise ValueError(
                f"thumbnails must be uint8 of shape (n, c, h, w), got {pictures.dtype} {tuple(pictures.shape)}"
            )
        own: dict[str, Sized | None] = {"embeddings": x, "thumbnails": pictures, "names": self.names}
        for what, value in (own | others).items():
            if value is not None and len(value) != n:
                raise ValueError(f"{n} labels came with {len(value)} {what}; there must be one each")
        if not bool(torch.isfinite(x).all()):
            raise ValueError("embeddings hold NaN or infinite values: training has diverged")


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportMaterial(Items):
    """The test items of a run as the network sees them, a small picture of each, and the history of the run."""

    title: str  # heading of the page
    about: str  # a sentence on what was done
    config: str  # text of the settings
    rows: tuple[Row, ...]  # of history.csv, an epoch each; may be empty
    classes: tuple[str, ...]  # name of each label
    logits: Tensor | None = None  # (n, number of classes)
    predictions: Tensor | None = None  # (n,) int64
    predicted_by: str = "classifier"  # what gave the predictions, in words
    normalized: bool = True  # embeddings are compared by their directions, as the loss does
    loss: BatchOTSettings | None = None  # of the transport loss; None where another loss trained the network
    items: str = "images"  # what the items are called, "images" or "shapes"
    plans: tuple[PlanRow, ...] = ()  # lines of plan.csv, what the plan did over the training; may be empty
    # where the items are looked for, such as shapes; its classes that no query has are distractors. None: among
    # themselves
    gallery: Items | None = None
    query_name: str = "sketch"  # what one query is called, where there is a gallery
    gallery_name: str = "shape"  # what one item of the gallery is called

    def __post_init__(self) -> None:
        self._check(logits=self.logits, predictions=self.predictions)
        own = "labels" if self.gallery is None else f"{self.query_name} labels"
        theirs = None if self.gallery is None else self.gallery.labels
        for what, labels in (
            (own, self.labels),
            ("predictions", self.predictions),
            (f"{self.gallery_name} labels", theirs),
        ):
            if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
                raise ValueError(
                    f"{what} run from {int(labels.min())} to {int(labels.max())}, "
                    f"but there are {len(self.classes)} classes"
                )

        width = self.embeddings.shape[1]
        if self.gallery is not None and width != self.gallery.embeddings.shape[1]:
            raise ValueError(
                f"the {self.query_name} embeddings are {width} wide and those of the {self.gallery_name} "
                f"{self.gallery.embeddings.shape[1]}; both networks must embed into one space"
            )

    @cached_property
    def query(self) -> Items:
        return Items(self.embeddings, self.labels, self.thumbnails, self.names)

    @property
    def sought(self) -> Items:
        """Where it is looked for: the gallery, or the items themselves."""
        return self.query if self.gallery is None else self.gallery

    @property
    def queries(self) -> str:
        return plural(self.query_name)

    @property
    def targets(self) -> str:
        return plural(self.gallery_name)

    @property
    def distractors(self) -> tuple[str, ...]:
        return self._only(self.sought, self.query)

    @property
    def absent(self) -> tuple[str, ...]:
        return self._only(self.query, self.sought)

    def _only(self, items: Items, others: Items) -> tuple[str, ...]:
        present, elsewhere = items.labels.unique().tolist(), set(others.labels.tolist())
        return tuple(self.classes[label] for label in present if label not in elsewhere)


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else noun + "s"


def shrink(pictures: Tensor, *, side: int = 96, full: int = 2500, least: int = 24) -> Tensor:
    """Shrink pictures by averaging, so that many of them stay a small file; small ones stay as they are."""
    n, _, h, w = pictures.shape
    if n > full:
        side = max(least, math.isqrt(side * side * full // n))
    if max(h, w) <= side:
        return pictures
    factor = side / max(h, w)
    size = (max(1, round(h * factor)), max(1, round(w * factor)))
    parts = [
        torch.nn.functional.interpolate(part.float(), size=size, mode="area").round().to(torch.uint8)
        for part in pictures.split(256)  # floats are four times as large
    ]
    return torch.cat(parts) if parts else pictures


_EYE = (1.0, -0.8, 0.7)  # from the front, the right and above, where chairs and cars show most of themselves
_SIDE = 96
_AT_ONCE = 100


def thumbnails_of(samples: Samples) -> Tensor:
    """Give a small picture of each sample: the image, one view of the views, a drawing of the cloud."""
    if isinstance(samples, Images):
        return samples.images
    parts = []
    for indices in torch.arange(len(samples)).split(_AT_ONCE):
        batch = samples.batch(indices)
        if batch.ndim == 4:  # pictures already, such as drawings
            parts.append(shrink(batch, side=_SIDE))
        else:
            parts.append(_of_clouds(batch) if batch.ndim == 3 else _of_views(batch))
    return torch.cat(parts)


def _of_views(views: Tensor) -> Tensor:
    # of a ring of cameras around the shape the second one sees it from the front and the side
    return shrink(views[:, min(1, views.shape[1] - 1), :1].contiguous(), side=_SIDE)


def _of_clouds(points: Tensor) -> Tensor:
    from batchot.shapes.render.cameras import cameras_from_eyes
    from batchot.shapes.render.cloud import splat_depth

    camera = cameras_from_eyes([_EYE])
    seen = {"distance": camera.distance, "extent": camera.extent}
    depth = splat_depth(points.numpy(), camera.rotations, **seen, size=_SIDE, radius=1.8)
    grey = torch.from_numpy(depth)
    # near points dark, as on paper, and the background white
    return torch.where(grey == 0, torch.full_like(grey, 255), (225 - 0.8 * grey.float()).to(torch.uint8))
