"""Drawings that are known as strokes of a pen, and drawn to pictures when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchot.data import pen
from batchot.data.errors import DataError
from batchot.data.labels import check_labels
from batchot.data.partial import LEAST_SHARE
from batchot.data.sketch_image import MARGIN


@dataclass(frozen=True)
class Hand:
    """How another hand differs from the one that drew; by default not at all.

    Lengths are in sides of the drawing. Each drawing has a hand of its own: what is given here is the most that
    it does of a thing (a standard deviation, where the name of a field says no share).

    Args:
        spread: logarithm by which the pen is wider or narrower than usual.
        tremor: how far a stroke is moved off its way, anew every eighth of a side along it.
        move: how far each stroke lies off its place.
        turn: by what angle, radians, each stroke is turned about its middle.
        grow: logarithm of the factor by which each stroke is too long or too short.
        straighten: bends of a stroke that are smaller are drawn straight.
        omit: share of the short strokes that are left out; of long ones it is less, the longest always stays.
        join: share of the strokes that are begun without lifting the pen, where the last one ended near by.

    Raises:
        ValueError: on a negative number.

    Example:
        >>> from batchot.data.drawings import Hand
        >>> Hand.of(0.5).omit, Hand.of(0.0) == Hand()
        (0.075, True)
    """

    spread: float = 0.0
    tremor: float = 0.0
    move: float = 0.0
    turn: float = 0.0
    grow: float = 0.0
    straighten: float = 0.0
    omit: float = 0.0
    join: float = 0.0

    def __post_init__(self) -> None:
        if not all(getattr(self, field.name) >= 0 for field in fields(self)):
            raise ValueError(f"every number must be at least 0, got {self}")

    @classmethod
    def of(cls, strength: float) -> Hand:
        """A hand that differs by so much: 0 not at all, 1 as people's hands do."""
        usual = cls(0.6, 0.015, 0.015, 0.05, 0.05, 0.02, 0.15, 0.3)
        return cls(*(strength * getattr(usual, field.name) for field in fields(cls)))

    @property
    def habits(self) -> NDArray[np.float64]:
        """As :func:`batchot.data.pen.draw` takes them."""
        return np.array([getattr(self, field.name) for field in fields(self)])


RECORDED = Hand()
"""Draws what was recorded."""


@dataclass(frozen=True, eq=False)
class Drawings:
    """Labelled drawings as strokes, pictures of which are drawn a batch at a time.

    :meth:`batch` draws them as they were recorded, :meth:`draw` as ``hand`` would, each time another way. Either
    is in the form that sketches are brought to: in the middle, with a margin of 5 %.

    Args:
        points: of all strokes of all drawings, float32, shape ``(p, 2)``: x to the right, y downwards, the longer
            side of a drawing being 1.
        strokes: number of the first point of each stroke, and of all points, int64, shape ``(s + 1,)``.
        firsts: number of the first stroke of each drawing, and of all strokes, int64, shape ``(m + 1,)``.
        labels: index into ``classes`` of each sample, int64, shape ``(n,)``.
        classes: name of each class.
        names: what each sample is called.
        size: height and width of the pictures, pixels.
        hand: how drawings are drawn anew.
        at: number of the drawing of each sample, int64, shape ``(n,)``; ``None``: all drawings in their order.

    Raises:
        DataError: on numbers that differ, on a label without a class.

    Example:
        >>> import torch
        >>> from batchot.data.drawings import Drawings
        >>> cross = [[[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
        >>> drawn = Drawings.of([cross, cross[:1]], torch.tensor([1, 0]), ("line", "x"), size=32)
        >>> drawn.batch(torch.tensor([1])).shape, len(drawn.subset(torch.tensor([0])))
        (torch.Size([1, 1, 32, 32]), 1)
    """

    points: Tensor  # (p, 2) float32
    strokes: Tensor  # (s + 1,) int64
    firsts: Tensor  # (m + 1,) int64
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]
    names: tuple[str, ...] = ()
    size: int = 128
    hand: Hand = RECORDED
    at: Tensor = None  # type: ignore[assignment]  # (n,) int64

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes)
        if self.at is None:
            object.__setattr__(self, "at", torch.arange(len(self.firsts) - 1))
        if len(self.labels) != len(self.at) or (self.names and len(self.names) != len(self.at)):
            raise DataError(
                f"{len(self.at):,} drawings but {len(self.labels):,} labels and {len(self.names):,} names; "
                "there must be one for each"
            )
        if int(self.firsts[-1]) != len(self.strokes) - 1 or int(self.strokes[-1]) != len(self.points):
            raise DataError(
                "the strokes of the drawings and the points of the strokes must be counted to the last"
            )

    @classmethod
    def of(
        cls,
        drawings: Sequence[Sequence[Sequence[Sequence[float]]]],
        labels: Tensor,
        classes: tuple[str, ...],
        *,
        size: int = 128,
        names: tuple[str, ...] = (),
        hand: Hand = RECORDED,
    ) -> Drawings:
        """Drawings from lists: of strokes, which are lists of points (x, y), in any unit."""
        points, strokes, firsts = pack(
            [[np.asarray(stroke, np.float64).reshape(-1, 2) for stroke in d] for d in drawings]
        )
        return cls(points, strokes, firsts, labels, classes, names, size, hand)

    def __len__(self) -> int:
        return len(self.at)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """1, height and width."""
        return (1, self.size, self.size)

    def batch(self, indices: Tensor) -> Tensor:
        """The drawings at ``indices`` (int64, shape ``(b,)``) as they were recorded, uint8, ``(b, 1, h, w)``."""
        return self._draw(indices, RECORDED, None, torch.ones(len(indices)))

    def draw(self, indices: Tensor, generator: torch.Generator, partial: float = 0.0) -> Tensor:
        """The drawings at ``indices``, drawn anew; so many of them (a share) are not finished yet."""
        seeds, shares = chances(len(indices), generator, partial)
        return self._draw(indices, self.hand, seeds, shares)

    def begun(self, indices: Tensor, share: float) -> Tensor:
        """The drawings at ``indices`` when this share of their ink was on the paper, uint8, ``(b, 1, h, w)``."""
        return self._draw(indices, RECORDED, None, torch.full((len(indices),), share))

    def subset(self, indices: Tensor) -> Drawings:
        """The drawings at ``indices`` (int64, shape ``(k,)``), in that order, with the same classes."""
        names = tuple(self.names[index] for index in indices.tolist()) if self.names else ()
        return replace(self, labels=self.labels[indices], names=names, at=self.at[indices])

    def _draw(self, indices: Tensor, hand: Hand, seeds: Tensor | None, shares: Tensor) -> Tensor:
        strokes = (self.points, self.strokes, self.firsts)
        return draw_strokes(strokes, self.at[indices], hand, seeds, shares, self.size)


Strokes = tuple[Tensor, Tensor, Tensor]
"""Points, strokes and first strokes, as :class:`Drawings` has them."""


def chances(n: int, generator: torch.Generator, partial: float) -> tuple[Tensor, Tensor]:
    """Seeds of the hands of n drawings, and which share of its ink each has: all, or a chance share."""
    seeds, shares = torch.randint(0, 2**62, (n,), generator=generator), torch.ones(n)
    if partial:
        unfinished = torch.rand(n, generator=generator) < partial
        drawn = LEAST_SHARE + (1 - LEAST_SHARE) * torch.rand(n, generator=generator)
        shares = torch.where(unfinished, drawn, shares)
    return seeds, shares


def draw_strokes(
    strokes: Strokes, which: Tensor, hand: Hand, seeds: Tensor | None, shares: Tensor, size: int
) -> Tensor:
    """Pictures of some drawings, uint8, ``(b, 1, size, size)``; see :func:`batchot.data.pen.draw`."""
    pixels = np.empty((len(which), size, size), np.uint8)
    seeds = torch.zeros(len(which), dtype=torch.int64) if seeds is None else seeds
    pen.draw(
        *(part.numpy() for part in strokes),
        which.numpy(),
        seeds.numpy().astype(np.uint64),
        shares.numpy().astype(np.float64),
        hand.habits,
        pen.WIDTH * size,
        MARGIN,
        pixels,
    )
    return torch.from_numpy(pixels).unsqueeze(1)


def pack(drawings: Sequence[Sequence[NDArray[np.float64]]]) -> Strokes:
    """The strokes of drawings of any size and place."""
    points, lengths, counts = [], [], []
    for drawing in drawings:
        both = np.concatenate(drawing) if drawing else np.zeros((0, 2))
        if len(both):
            low = both.min(0)
            both = (both - low) / max(float((both - low).max()), 1e-9)
        points.append(both.astype(np.float32))
        lengths += [len(stroke) for stroke in drawing]
        counts.append(len(drawing))
    return (
        torch.from_numpy(np.concatenate(points) if points else np.zeros((0, 2), np.float32)),
        torch.tensor([0, *lengths]).cumsum(0),
        torch.tensor([0, *counts]).cumsum(0),
    )
