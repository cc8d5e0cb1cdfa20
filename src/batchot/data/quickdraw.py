"""Quick, Draw!: the published ``.ndjson`` files, simplified or raw, a drawing a line."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchot.data.drawings import RECORDED, Drawings, Hand, pack
from batchot.data.errors import DataError
from batchot.data.images import Splits
from batchot.data.pen import simplify
from batchot.data.seeded_split import choose_test
from batchot.data.shape_files import shorten
from batchot.data.sketch_files import warn_user

ENDING = ".ndjson"
PER_CLASS = 1000
"""Drawings of each class that are read by default: the published files have a hundred thousand and more."""
LONGEST_LINE = 1 << 24
"""Bytes of a drawing; a longer line is no drawing."""
_FINEST = (
    1 / 512
)  # of the side of a drawing: raw strokes have a point every few milliseconds, wherever the pen is
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
    tell: Callable[[str], None] = warn_user,
    name: str = "quickdraw",
) -> Splits[Drawings]:
    """Load drawings of Quick, Draw! (https://github.com/googlecreativelab/quickdraw-dataset), CC BY 4.0.

    A line of a file is a drawing, ``{"word": CLASS, "drawing": [[[x, ...], [y, ...]], ...]}``, each stroke with a
    third row of times where the file is a raw one. The class is the word; where there is none, the name of the file.

    Args:
        place: a folder with such files, at any depth, or one file.
        size: height and width of the pictures that are drawn, pixels.
        per_class: read the first so many drawings of each class; 0: all.
        test_fraction: share of each class that is kept for the test, in (0, 1).
        split_seed: of that division, which depends on the seed and the drawings' keys alone.
        hand: how drawings are drawn anew for training.
        tell: told in a sentence what was left out: lines that are cut off or no drawings, drawings of nothing.
        name: of the data set.

    Returns:
        Training and test drawings; classes in alphabetical order.

    Raises:
        DataError: when there is no such file, it cannot be read, or holds no drawing.

    Example:
        >>> import json, tempfile
        >>> from batchot.data.quickdraw import load_quickdraw
        >>> with tempfile.TemporaryDirectory() as root:
        ...     lines = [json.dumps({"word": "line", "drawing": [[[0, 9], [0, k]]]}) for k in range(5)]
        ...     _ = (Path(root) / "line.ndjson").write_text("\\n".join(lines))
        ...     splits = load_quickdraw(Path(root), size=32)
        >>> len(splits.train), len(splits.test), splits.sample_shape, splits.train.names[0]
        (4, 1, (1, 32, 32), 'line/1')
    """
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
    by_class: dict[str, list[str]] = defaultdict(list)
    for drawing in found:
        by_class[drawing.class_name].append(drawing.name)
    in_test = {n for of_class in by_class.values() for n in choose_test(of_class, test_fraction, split_seed)}
    numbers = {class_name: k for k, class_name in enumerate(classes)}
    labels = torch.tensor([numbers[drawing.class_name] for drawing in found])
    points, strokes, firsts = pack([drawing.strokes for drawing in found])
    names = tuple(drawing.name for drawing in found)
    everything = Drawings(points, strokes, firsts, labels, classes, names, size, hand)
    test = torch.tensor([n in in_test for n in names])
    return Splits(name, everything.subset(_where(~test)), everything.subset(_where(test)))


def find_ndjson(place: Path) -> tuple[Path, ...]:
    """The files of a folder, in the order of their names, or the one that is given.

    Raises:
        DataError: there is none.
    """
    if place.is_file():
        return (place,)
    files = tuple(sorted(path for path in place.rglob(f"*{ENDING}") if path.is_file()))
    if not files:
        raise DataError(
            f"{place} holds no {ENDING} files of Quick, Draw!; put those of the classes that you want there, "
            "simplified or raw: https://github.com/googlecreativelab/quickdraw-dataset"
        )
    return files


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()


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


def _read(file: Path, per_class: int, tell: Callable[[str], None]) -> list[_Drawing]:
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
        strokes = [_simplified(stroke, _FINEST * side) for stroke in strokes]
    return strokes


def _simplified(points: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    points = np.ascontiguousarray(points)
    keep = np.empty(len(points), np.bool_)
    simplify(points, tolerance, keep)
    return points[keep]
