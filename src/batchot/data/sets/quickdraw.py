"""Drawings of Quick, Draw!, as strokes and as pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchot.data.augment import pen
from batchot.data.augment.pen import simplify
from batchot.data.augment.strokes import LEAST_SHARE
from batchot.data.samples import Splits, check_labels
from batchot.data.sets.shape_files import choose_test, shorten
from batchot.data.sets.sketch_image import MARGIN
from batchot.data.sets.sketches import warn_user
from batchot.errors import DataError, Tell


@dataclass(frozen=True)
class Hand:
    """How another hand differs from the one that drew; by default not at all."""

    spread: float = 0.0  # logarithm by which the pen is wider or narrower than usual
    tremor: float = 0.0  # how far a stroke is moved off its way, anew every eighth of a side along it
    move: float = 0.0  # how far each stroke lies off its place
    turn: float = 0.0  # by what angle, radians, each stroke is turned about its middle
    grow: float = 0.0  # logarithm of the factor by which each stroke is too long or too short
    straighten: float = 0.0  # bends of a stroke that are smaller are drawn straight
    # share of the short strokes that are left out; of long ones it is less, the longest always stays
    omit: float = 0.0
    join: float = 0.0  # share of the strokes begun without lifting the pen, where the last one ended near by

    def __post_init__(self) -> None:
        if not all(getattr(self, field.name) >= 0 for field in fields(self)):
            raise ValueError(f"every number must be at least 0, got {self}")

    @classmethod
    def of(cls, strength: float) -> Hand:
        """A hand that differs by so much: 0 not at all, 1 as people's hands do."""
        usual = cls(0.6, 0.012, 0.012, 0.05, 0.05, 0.02, 0.15, 0.3)
        return cls(*(strength * getattr(usual, field.name) for field in fields(cls)))

    @property
    def habits(self) -> NDArray[np.float64]:
        """As :func:`batchot.data.augment.strokes.draw` takes them."""
        return np.array([getattr(self, field.name) for field in fields(self)])


RECORDED = Hand()
"""Draws what was recorded."""


@dataclass(frozen=True, eq=False)
class Drawings:
    """Labelled drawings as strokes, pictures of which are drawn a batch at a time."""

    points: Tensor  # (p, 2) float32
    strokes: Tensor  # (s + 1,) int64
    firsts: Tensor  # (m + 1,) int64
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]  # name of each class
    names: tuple[str, ...] = ()  # what each sample is called
    size: int = 128  # height and width of the pictures, pixels
    hand: Hand = RECORDED  # how drawings are drawn anew
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
        return (1, self.size, self.size)

    def batch(self, indices: Tensor) -> Tensor:
        return self._draw(indices, RECORDED, None, torch.ones(len(indices)))

    def draw(self, indices: Tensor, generator: torch.Generator, partial: float = 0.0) -> Tensor:
        """The drawings at ``indices``, drawn anew; so many of them (a share) are not finished yet."""
        seeds, shares = chances(len(indices), generator, partial)
        return self._draw(indices, self.hand, seeds, shares)

    def begun(self, indices: Tensor, share: float) -> Tensor:
        """The drawings at ``indices`` when this share of their ink was on the paper, uint8, ``(b, 1, h, w)``."""
        return self._draw(indices, RECORDED, None, torch.full((len(indices),), share))

    def subset(self, indices: Tensor) -> Drawings:
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
    """Pictures of some drawings, uint8, ``(b, 1, size, size)``; see :func:`batchot.data.augment.strokes.draw`."""
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


def joined(points: list[NDArray[np.float32]], lengths: list[int], counts: list[int]) -> Strokes:
    """The points of all strokes, how many each has, and how many strokes each drawing has, as one."""
    return (
        torch.from_numpy(np.concatenate(points) if points else np.zeros((0, 2), np.float32)),
        torch.tensor([0, *lengths]).cumsum(0),
        torch.tensor([0, *counts]).cumsum(0),
    )


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
    return joined(points, lengths, counts)


ENDING = ".ndjson"
PER_CLASS = 1000
"""Drawings of each class that are read by default: the published files have a hundred thousand and more."""
LONGEST_LINE = 1 << 24
"""Bytes of a drawing; a longer line is no drawing."""
# of the side of a drawing: raw strokes have a point every few milliseconds, wherever the pen is
_FINEST = 1 / 512
_PREFIXES = ("full_simplified_", "full_raw_")  # of the files as they are downloaded


@dataclass(frozen=True)
class _Drawing:
    name: str
    class_name: str
    strokes: list[NDArray[np.float64]]


def load_quickdraw(
    place: Path,
    *,
    size: int = 128,
    per_class: int = PER_CLASS,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    hand: Hand = RECORDED,
    tell: Tell = warn_user,
    name: str = "quickdraw",
) -> Splits[Drawings]:
    """Load drawings of Quick, Draw! (https://github.com/googlecreativelab/quickdraw-dataset), CC BY 4.0."""
    if per_class < 0:
        raise DataError(f"per_class must be at least 0, got {per_class}")
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    files = find_ndjson(place)
    found: list[_Drawing] = []
    for file in files:
        found += _read(file, per_class, tell)
    found = _first_of_each(found, per_class)
    if not found:
        raise DataError(
            f"{place} holds no drawing; a line of an {ENDING} file is a drawing, as Quick, Draw! publishes"
        )
    found.sort(key=lambda drawing: drawing.class_name)  # stable: in the order of the files
    classes = tuple(sorted({drawing.class_name for drawing in found}))
    in_test = choose_test(((d.class_name, d.name) for d in found), test_fraction, split_seed)
    numbers = {class_name: k for k, class_name in enumerate(classes)}
    labels = torch.tensor([numbers[drawing.class_name] for drawing in found])
    points, strokes, firsts = pack([drawing.strokes for drawing in found])
    names = tuple(drawing.name for drawing in found)
    everything = Drawings(points, strokes, firsts, labels, classes, names, size, hand)
    test = torch.tensor([n in in_test for n in names])
    train_at, test_at = (part.nonzero().flatten() for part in (~test, test))
    return Splits(name, everything.subset(train_at), everything.subset(test_at))


def find_ndjson(place: Path) -> tuple[Path, ...]:
    """The files of a folder, in the order of their names, or the one that is given."""
    if place.is_file():
        return (place,)
    files = tuple(sorted(path for path in place.rglob(f"*{ENDING}") if path.is_file()))
    if not files:
        raise DataError(
            f"{place} holds no {ENDING} files of Quick, Draw!; put those of the classes that you want there, "
            "simplified or raw: https://github.com/googlecreativelab/quickdraw-dataset"
        )
    return files


def _first_of_each(drawings: list[_Drawing], per_class: int) -> list[_Drawing]:
    """The first so many of each class (which several files may have), each of another name."""
    counts: Counter[str] = Counter()
    names: set[str] = set()
    kept = []
    for drawing in drawings:
        if drawing.name in names or (per_class and counts[drawing.class_name] >= per_class):
            continue
        names.add(drawing.name)
        counts[drawing.class_name] += 1
        kept.append(drawing)
    return kept


def _read(file: Path, per_class: int, tell: Tell) -> list[_Drawing]:
    """The drawings of a file; what is none is left out and told."""
    stem = file.stem
    for prefix in _PREFIXES:
        stem = stem.removeprefix(prefix)
    counts: Counter[str] = Counter()
    drawings, damaged, blank = [], [], []
    for number, line in _lines(file):
        try:
            values = json.loads(line)
            word, key = _text(values, "word") or stem, _text(values, "key_id") or str(number)
            if per_class and counts[word] >= per_class:
                if len(counts) == 1:
                    break  # a file of one class, as they are published: the rest is not even looked at
                continue
            strokes = _strokes(values)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            damaged.append(f"line {number} ({' '.join(str(error).split())[:80]})")
            continue
        if not strokes:
            blank.append(f"line {number}")
            continue
        counts[word] += 1
        drawings.append(_Drawing(f"{word}/{key}", word, strokes))
    if damaged:
        tell(f"{file}: {len(damaged):,} lines are cut off or no drawings and left out: {shorten(damaged)}")
    if blank:
        tell(f"{file}: {len(blank):,} drawings of nothing left out: {shorten(blank)}")
    return drawings


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers from 1 on."""
    number = 0
    try:
        with file.open("rb") as content:
            while line := content.readline(LONGEST_LINE):
                number += 1
                if line.strip():
                    yield number, line
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    raise DataError(
                        f"{file}: line {number} is longer than {LONGEST_LINE:,} bytes, so no drawing"
                    )
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def _text(values: Any, key: str) -> str:
    if not isinstance(values, dict):
        raise ValueError(f"{type(values).__name__} where a drawing should be")
    value = values.get(key)
    return value.strip() if isinstance(value, str) else ""


def _strokes(values: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Strokes ``(n, 2)``, without the points that say nothing; none where nothing is drawn."""
    strokes = []
    for stroke in values["drawing"]:
        points = np.array(stroke[:2], dtype=np.float64)  # ValueError where x and y are not as many
        if points.ndim != 2 or points.shape[0] != 2:
            raise ValueError("a stroke must be a list of x and a list of y")
        if not np.isfinite(points).all():
            raise ValueError("a coordinate is not a number")
        if points.shape[1]:
            strokes.append(points.T)
    if not strokes:
        return []
    everything = np.concatenate(strokes)
    side = float(np.ptp(everything, axis=0).max())
    if not side > 0:  # a dot
        return []
    if len(everything) > 64:
        strokes = [simplified(stroke, _FINEST * side) for stroke in strokes]
    return strokes


def simplified(points: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    points = np.ascontiguousarray(points)
    keep = np.empty(len(points), np.bool_)
    simplify(points, tolerance, keep)
    return points[keep]
