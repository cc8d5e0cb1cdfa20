"""Drawings of shapes made from the shapes themselves, for sketch search without a single sketch to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numba import njit
from torch import Tensor

from batchot.data.samples import Splits, check_labels
from batchot.data.sets.quickdraw import RECORDED, Hand, chances, draw_strokes, joined, simplified
from batchot.data.sets.shape_files import ShapeCollection
from batchot.data.sets.sketch_image import MARGIN
from batchot.data.views import MEMORY_BUDGET, Views, load_views
from batchot.errors import DataError, Tell, nobody
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
        return (1, *self.views.view_shape[2:])

    @property
    def n_bytes(self) -> int:
        return self.views.n_bytes

    def batch(self, indices: Tensor) -> Tensor:
        at = self.at[indices]
        if self.pixels is not None:
            return self.pixels.index_select(0, at)
        shapes, places = (at // self.per_shape).unique(return_inverse=True)  # a shape is read once
        drawn = self.views.batch(shapes).flatten(1, 2)  # (shapes, v s, h, w)
        return drawn[places, at % self.per_shape].unsqueeze(1)

    def draw(self, indices: Tensor, generator: torch.Generator, partial: float = 0.0) -> Tensor:
        """The drawings at ``indices`` as ``hand`` draws them; so many (a share) are not finished yet."""
        if self.hand == RECORDED and not partial:
            return self.batch(indices)
        return self._traced(indices, self.hand, *chances(len(indices), generator, partial))

    def begun(self, indices: Tensor, share: float) -> Tensor:
        """The drawings at ``indices`` when this share of their ink was on the paper, uint8, ``(b, 1, h, w)``."""
        return self._traced(indices, RECORDED, None, torch.full((len(indices),), share))

    def _traced(self, indices: Tensor, hand: Hand, seeds: Tensor | None, shares: Tensor) -> Tensor:
        pixels = self.batch(indices)
        return draw_strokes(trace(pixels), torch.arange(len(pixels)), hand, seeds, shares, pixels.shape[-1])

    def subset(self, indices: Tensor) -> LineDrawings:
        return replace(self, labels=self.labels[indices], at=self.at[indices])

    def in_memory(self) -> LineDrawings:
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
    on_message: Tell = nobody,
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


_INK = 96  # of 255: what is darker than white by more belongs to a line
_TOLERANCE = 0.5  # pixels by which a stroke may be off the middle of the line
_SHORTEST = 4  # pixels: what is shorter is a spur of thinning
# neighbours, clockwise
_ROUND = np.array([[-1, 0], [-1, 1], [0, 1], [1, 1], [1, 0], [1, -1], [0, -1], [-1, -1]])


def trace(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    points, lengths, counts = [], [], []
    for image in images[:, 0].numpy():
        lines = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.bool_)
        lines[1:-1, 1:-1] = image < 255 - _INK
        _thin(lines)
        found, ends = _follow(lines)
        longest = np.argsort(-np.diff(ends), kind="stable")
        strokes = [simplified(_smooth(found[ends[k] : ends[k + 1]]), _TOLERANCE) for k in longest]
        points += [(stroke / max(image.shape)).astype(np.float32) for stroke in strokes]
        lengths += [len(stroke) for stroke in strokes]
        counts.append(len(strokes))
    return joined(points, lengths, counts)


@njit(cache=True, nogil=True)
def _thin(lines):  # type: ignore[no-untyped-def]
    """Thin lines to a pixel, in place; the border must be free."""
    h, w = lines.shape
    # only these are looked at: a drawing is white paper for the most part
    dark = np.empty((h * w, 2), np.int64)
    n = 0
    for i in range(1, h - 1):
        for j in range(1, w - 1):
            if lines[i, j]:
                dark[n, 0], dark[n, 1] = i, j
                n += 1
    gone = np.zeros(n, np.bool_)
    around = np.zeros(9, np.int64)
    changed = True
    while changed:
        changed = False
        for step in range(2):
            for p in range(n):
                i, j = dark[p, 0], dark[p, 1]
                gone[p] = False
                total = 0
                for k in range(8):
                    around[k] = lines[i + _ROUND[k, 0], j + _ROUND[k, 1]]
                    total += around[k]
                if total < 2 or total > 6:
                    continue
                around[8] = around[0]
                rises = 0
                for k in range(8):
                    rises += around[k] == 0 and around[k + 1] == 1
                if rises != 1:
                    continue
                north, east, south, west = around[0], around[2], around[4], around[6]
                if step == 0 and (north * east * south or east * south * west):
                    continue
                if step == 1 and (north * east * west or north * south * west):
                    continue
                gone[p] = True
            left = 0
            for p in range(n):
                if gone[p]:
                    lines[dark[p, 0], dark[p, 1]] = False
                    changed = True
                else:
                    dark[left, 0], dark[left, 1] = dark[p, 0], dark[p, 1]
                    left += 1
            n = left


@njit(cache=True, nogil=True)
def _smooth(points):  # type: ignore[no-untyped-def]
    """Take the steps of pixels out of a stroke, its ends staying: the mean of five points along it."""
    n = len(points)
    result = points.copy()
    for k in range(1, n - 1):
        reach = min(2, k, n - 1 - k)
        for axis in range(2):
            total = 0.0
            for other in range(k - reach, k + reach + 1):
                total += points[other, axis]
            result[k, axis] = total / (2 * reach + 1)
    return result


@njit(cache=True, nogil=True)
def _follow(lines):  # type: ignore[no-untyped-def]
    """Strokes along thin lines: their points (x, y) one after the other, and where each stroke begins."""
    h, w = lines.shape
    left = lines.copy()
    count = int(lines.sum())
    points = np.empty((3 * count + 3, 2), np.float64)
    ends = np.zeros(count + 1, np.int64)
    used, strokes = 0, 0
    for sweep in range(2):  # from the ends of lines, then around what has no end
        for i0 in range(1, h - 1):
            for j0 in range(1, w - 1):
                if not left[i0, j0]:
                    continue
                neighbours = 0
                for k in range(8):
                    neighbours += lines[i0 + _ROUND[k, 0], j0 + _ROUND[k, 1]]
                if sweep == 0 and neighbours != 1:
                    continue
                begin = used
                touched = _beside(lines, left, i0, j0, points[:0])
                if touched[0] >= 0:  # it branches off a stroke that is drawn already
                    points[used, 0], points[used, 1] = touched[1] - 1, touched[0] - 1
                    used += 1
                i, j = i0, j0
                down, right = 0.0, 0.0
                while True:
                    left[i, j] = False
                    points[used, 0], points[used, 1] = j - 1, i - 1
                    used += 1
                    best, at = -9.0, -1
                    for k in range(8):
                        di, dj = _ROUND[k, 0], _ROUND[k, 1]
                        if left[i + di, j + dj]:
                            straight = (di * down + dj * right) / np.sqrt(di * di + dj * dj)
                            if straight > best + 1e-9:
                                best, at = straight, k
                    if at < 0:
                        break
                    di, dj = _ROUND[at, 0], _ROUND[at, 1]
                    down, right = 0.7 * down + 0.3 * di, 0.7 * right + 0.3 * dj
                    i, j = i + di, j + dj
                if used - begin > 2:  # closed, or ending at another stroke
                    touched = _beside(lines, left, i, j, points[max(begin, used - 4) : used])
                    if abs(i - i0) <= 1 and abs(j - j0) <= 1:
                        points[used, 0], points[used, 1] = j0 - 1, i0 - 1
                        used += 1
                    elif touched[0] >= 0:
                        points[used, 0], points[used, 1] = touched[1] - 1, touched[0] - 1
                        used += 1
                if used - begin < _SHORTEST:
                    used = begin
                    continue
                strokes += 1
                ends[strokes] = used
    return points[:used], ends[: strokes + 1]


@njit(cache=True, nogil=True)
def _beside(lines, left, i, j, just):  # type: ignore[no-untyped-def]
    """A neighbour that a stroke has passed, but not ``just`` now; (-1, -1) if there is none."""
    for k in range(8):
        a, b = i + _ROUND[k, 0], j + _ROUND[k, 1]
        if lines[a, b] and not left[a, b]:
            new = True
            for p in range(len(just)):
                new &= just[p, 0] != b - 1 or just[p, 1] != a - 1
            if new:
                return a, b
    return -1, -1
