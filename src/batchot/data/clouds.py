"""Point clouds of one size in memory, read from a collection once and then from the cache folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from batchot.data.cloud_reading import READING_VERSION, Choice, CloudReader, CloudSettings, TooFew
from batchot.data.samples import InMemory, check_labels
from batchot.data.sets.places import cached_array, fingerprint
from batchot.data.sets.shape_files import ShapeCollection
from batchot.errors import DataError
from batchot.shapes.formats.archives import forget_rows
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource
from batchot.workers.pool import Engine

_NAMED = 5
_QUICK_SECONDS = 1.0


@dataclass(frozen=True)
class Failure:
    """A shape that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Clouds(InMemory):
    """Labelled point clouds of one size."""

    points: Tensor  # (n, p, 3) float32
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]  # name of each class
    names: tuple[str, ...]  # of each cloud
    # shapes of the collection that could not be read and are not among these
    failures: tuple[Failure, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.points.ndim != 3 or self.points.shape[2] != 3 or self.points.dtype != torch.float32:
            raise DataError(
                f"points must be float32 of shape (n, p, 3), got {self.points.dtype} {tuple(self.points.shape)}"
            )
        check_labels(self.labels, self.classes)
        if not len(self.points) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.points):,} clouds, {len(self.labels):,} labels and {len(self.names):,} names; "
                "there must be one for each"
            )


def load_clouds(
    collection: ShapeCollection,
    points: int = 1024,
    *,
    choice: Choice = "first",
    too_few: TooFew = "error",
    up: Up = "auto",
    seed: int = 0,
    processes: int | None = None,
    progress: bool = True,
    engine: Engine | None = None,
) -> tuple[Clouds, Clouds]:
    """Read the training and the test shapes of a collection as point clouds."""
    settings = CloudSettings(points, choice, too_few, up, seed)
    bar = tqdm(
        total=len(collection), desc="reading shapes", unit="shape", delay=_QUICK_SECONDS, disable=not progress
    )
    with bar, CloudReader(settings, processes, engine) as reader:
        train, test = (
            _load_part(collection, part, sources, reader, bar)
            for part, sources in (("train", collection.train), ("test", collection.test))
        )
    forget_rows()
    failures = (*train.failures, *test.failures)
    if failures:
        text = f"{len(failures):,} of {len(collection):,} shapes of {collection.name} cannot be read"
        listed = "".join(f"\n  {failure.name}: {failure.reason}" for failure in failures[:_NAMED])
        more = f"\n  and {len(failures) - _NAMED:,} more" if len(failures) > _NAMED else ""
        _check_enough(collection, train, test, f"{text}:{listed}{more}")
        warnings.warn(f"{text} and are left out:{listed}{more}", stacklevel=2)
    return train, test


def _check_enough(collection: ShapeCollection, train: Clouds, test: Clouds, text: str) -> None:
    if collection.test and not len(test):
        raise DataError(f"no test shape is left: {text}")
    wanted = {source.label for source in collection.train}
    if lost := sorted(wanted - set(train.labels.tolist())):
        names = ", ".join(collection.classes[label] for label in lost)
        raise DataError(f"no training shape is left of the classes {names}: {text}")


def _load_part(
    collection: ShapeCollection, part: str, sources: Sequence[ShapeSource], reader: CloudReader, bar: tqdm
) -> Clouds:
    settings = reader.settings
    points = np.full((len(sources), settings.points, 3), np.nan, dtype=np.float32)  # (n, p, 3)
    reasons: dict[int, str] = {}
    for key, members in _group(sources, collection.classes).items():
        in_group = [sources[k] for k in members]
        name = f"clouds of {collection.folder.resolve()} {part} {key} {settings}"

        def build(
            in_group: list[ShapeSource] = in_group, members: list[int] = members
        ) -> NDArray[np.float32]:
            array = np.full((len(in_group), settings.points, 3), np.nan, dtype=np.float32)
            for row, result in enumerate(reader.read(in_group, bar.update)):
                if isinstance(result, str):
                    reasons[members[row]] = result
                else:
                    array[row] = result
            return array

        before = bar.n
        points[members] = cached_array(name, _fingerprint(in_group), build)
        bar.update(len(members) - (bar.n - before))
    failed = np.flatnonzero(np.isnan(points[:, 0, 0]))
    # A cache knows that a shape could not be read, but not why, nor whether it can be by now.
    again = [k for k in failed.tolist() if k not in reasons]
    for k, result in zip(again, reader.read([sources[k] for k in again]), strict=True):
        if isinstance(result, str):
            reasons[k] = result
        else:
            points[k] = result
    kept = [k for k in range(len(sources)) if k not in reasons]
    labels = torch.tensor([sources[k].label for k in kept], dtype=torch.int64)
    names = tuple(sources[k].name for k in kept)
    failures = tuple(Failure(sources[k].name, reasons[k]) for k in sorted(reasons))
    whole = torch.from_numpy(points if not reasons else points[kept])
    return Clouds(whole, labels, collection.classes, names, failures)


def _fingerprint(sources: Sequence[ShapeSource]) -> str:
    said = ((s.name, s.ending, s.member, s.up, *([s.tolerance] if s.tolerance else [])) for s in sources)
    return fingerprint(READING_VERSION, zip((s.path for s in sources), said, strict=True))


def _group(sources: Sequence[ShapeSource], classes: tuple[str, ...]) -> dict[str, list[int]]:
    """Places of the shapes of each class; of each HDF5 file, where classes lie scattered over the files."""
    groups: dict[str, list[int]] = {}
    for k, source in enumerate(sources):
        key = f"{source.path.name}/{(source.member or '').rpartition('#')[0]}" if source.is_row else None
        groups.setdefault(key or classes[source.label], []).append(k)
    return groups
