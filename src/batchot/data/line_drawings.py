"""Drawings of shapes made from the shapes themselves, for sketch search without a single sketch to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from batchot.data.augment.trace import trace
from batchot.data.images import Splits
from batchot.data.samples import check_labels
from batchot.data.sets.collection import ShapeCollection
from batchot.data.sets.quickdraw import RECORDED, Hand, chances, draw_strokes
from batchot.data.sets.sketch_image import MARGIN
from batchot.data.views import MEMORY_BUDGET, Views, load_views
from batchot.errors import DataError
from batchot.shapes.render.cameras import Cameras
from batchot.shapes.views.settings import ViewSettings

DrawingStyle = Literal["lines", "contours", "outline"]
DRAWING_STYLES: tuple[DrawingStyle, ...] = get_args(DrawingStyle)
ANTIALIAS = 4
"""Samples a pixel along each side: a line then moves by a quarter of a pixel and not by a half."""
_AT_ONCE = 64  # shapes that are read together


@dataclass(frozen=True, eq=False)
class LineDrawings:
    """Drawings of shapes, black on white, in the form that sketches are brought to."""

    views: Views  # of the shapes, one channel a style
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]  # name of each class
    at: Tensor  # (n,) int64
    pixels: Tensor | None = None  # (shapes v s, 1, h, w) uint8
    # that draws them anew for training, :meth:`draw`: their lines are followed with a pen as it would
    hand: Hand = RECORDED

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes)
        if len(self.labels) != len(self.at):
            raise DataError(
                f"{len(self.at):,} drawings but {len(self.labels):,} labels; there must be one for each"
            )
        whole = (len(self.views) * self.per_shape, *self.sample_shape)
        if self.pixels is not None and tuple(self.pixels.shape) != whole:
            raise DataError(f"pixels must be {whole}, got {tuple(self.pixels.shape)}")

    @classmethod
    def of(cls, views: Views) -> LineDrawings:
        """All drawings that ``views``, one channel a style, hold."""
        v, s = views.view_shape[:2]
        return cls(
            views, views.labels.repeat_interleave(v * s), views.classes, torch.arange(len(views) * v * s)
        )

    def __len__(self) -> int:
        return len(self.at)

    @property
    def per_shape(self) -> int:
        """Drawings of each shape: cameras times styles."""
        v, s = self.views.view_shape[:2]
        return v * s

    @property
    def names(self) -> tuple[str, ...]:
        """Shape, camera and style of each drawing, such as ``"cup/1 from 3, contours"``."""
        shapes, styles = self.views.names, self.views.cache.settings.channels
        named = []
        for number in self.at.tolist():
            shape, drawing = divmod(number, self.per_shape)
            camera, style = divmod(drawing, len(styles))
            named.append(f"{shapes[shape]} from {camera}, {styles[style]}")
        return tuple(named)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """1, height and width."""
        return (1, *self.views.view_shape[2:])

    @property
    def n_bytes(self) -> int:
        """Bytes of all drawings of ``views``."""
        return self.views.n_bytes

    def batch(self, indices: Tensor) -> Tensor:
        """The drawings at ``indices`` (int64, shape ``(b,)``), uint8, shape ``(b, 1, h, w)``."""
        at = self.at[indices]
        if self.pixels is not None:
            return self.pixels.index_select(0, at)
        shapes, places = (at // self.per_shape).unique(return_inverse=True)  # a shape is read once
        drawn = self.views.batch(shapes).flatten(1, 2)  # (shapes, v s, h, w)
        return drawn[places, at % self.per_shape].unsqueeze(1)

    def draw(self, indices: Tensor, generator: torch.Generator, partial: float = 0.0) -> Tensor:
        """The drawings at ``indices`` as ``hand`` draws them; so many (a share) are not finished yet."""
        pixels = self.batch(indices)
        if self.hand == RECORDED and not partial:
            return pixels
        seeds, shares = chances(len(indices), generator, partial)
        size = pixels.shape[-1]
        return draw_strokes(trace(pixels), torch.arange(len(indices)), self.hand, seeds, shares, size)

    def begun(self, indices: Tensor, share: float) -> Tensor:
        """The drawings at ``indices`` when this share of their ink was on the paper, uint8, ``(b, 1, h, w)``."""
        pixels, shares = self.batch(indices), torch.full((len(indices),), share)
        return draw_strokes(
            trace(pixels), torch.arange(len(indices)), RECORDED, None, shares, pixels.shape[-1]
        )

    def subset(self, indices: Tensor) -> LineDrawings:
        """The drawings at ``indices`` (int64, shape ``(k,)``), in that order, with the same classes."""
        return replace(self, labels=self.labels[indices], at=self.at[indices])

    def in_memory(self) -> LineDrawings:
        """The same drawings, all read now."""
        if self.pixels is not None:
            return self
        pixels = torch.empty((len(self.views) * self.per_shape, *self.sample_shape), dtype=torch.uint8)
        for first in range(0, len(self.views), _AT_ONCE):
            last = min(first + _AT_ONCE, len(self.views))
            drawn = self.views.batch(torch.arange(first, last)).flatten(0, 2)
            pixels[first * self.per_shape : last * self.per_shape, 0] = drawn
        return replace(self, pixels=pixels)


def drawing_settings(
    size: int,
    *,
    styles: Sequence[DrawingStyle] = DRAWING_STYLES,
    cameras: str | Cameras = "drawing-12",
    margin: float = MARGIN,
) -> ViewSettings:
    """How shapes are drawn so that the result is like a sketch that was brought to its form."""
    return ViewSettings(cameras=cameras, size=size, channels=tuple(styles), antialias=ANTIALIAS, fit=margin)


def load_line_drawings(
    collection: ShapeCollection,
    *,
    size: int,
    folder: Path,
    styles: Sequence[DrawingStyle] = DRAWING_STYLES,
    cameras: str | Cameras = "drawing-12",
    hand: Hand = RECORDED,
    processes: int | None = None,
    time_limit: float | None = 300.0,
    memory_budget: int = MEMORY_BUDGET,
    progress: bool = True,
    on_message: Callable[[str], None] | None = None,
) -> Splits[LineDrawings]:
    """The drawings of a collection, made first where they are not in the cache of views."""
    views = load_views(
        collection,
        drawing_settings(size, styles=styles, cameras=cameras),
        folder,
        processes=processes,
        time_limit=time_limit,
        memory_budget=0,  # drawings hold the pixels, not the views of which they are made
        progress=progress,
        on_message=on_message,
    )
    train, test = (replace(LineDrawings.of(part), hand=hand) for part in views)
    if train.n_bytes + test.n_bytes <= memory_budget:
        train, test = train.in_memory(), test.in_memory()
    return Splits(f"{collection.name} drawn", train, test)
