"""Labelled views of shapes, read from the cache in which they were rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchot.data.samples import check_labels
from batchot.data.sets.shape_files import ShapeCollection
from batchot.errors import DataError, Tell, nobody
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.cache import ViewCache, view_id
from batchot.shapes.views.render_all import render_collection
from batchot.shapes.views.settings import ViewSettings
from batchot.workers.pool import Engine

MEMORY_BUDGET = 2 << 30
"""Bytes of views that are held in memory unless another number is asked for."""


@dataclass(frozen=True, eq=False)
class Views:
    """Labelled views of shapes, on disk or in memory."""

    sources: tuple[ShapeSource, ...]  # the shapes, all of which have views in the cache
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]  # name of each class
    cache: ViewCache  # the views
    pixels: Tensor | None = None  # (n, v, c, h, w) uint8
    _checked: NDArray[np.bool_] = field(init=False, repr=False)  # (n,) whether a file was compared in full

    def __post_init__(self) -> None:
        n = len(self.sources)
        check_labels(self.labels, self.classes)
        if len(self.labels) != n:
            raise DataError(f"{n:,} shapes but {len(self.labels):,} labels; there must be one for each")
        if self.pixels is not None and tuple(self.pixels.shape) != (n, *self.view_shape):
            raise DataError(f"pixels must be {(n, *self.view_shape)}, got {tuple(self.pixels.shape)}")
        object.__setattr__(self, "_checked", np.zeros(n, bool))

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.sources)

    @property
    def view_shape(self) -> tuple[int, int, int, int]:
        """Views, channels, height and width of each shape."""
        return self.cache.settings.view_shape

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.view_shape

    @property
    def n_bytes(self) -> int:
        return len(self) * int(np.prod(self.view_shape))

    def batch(self, indices: Tensor | Sequence[int]) -> Tensor:
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        if self.pixels is not None:
            return self.pixels[chosen]
        views = torch.empty((len(chosen), *self.view_shape), dtype=torch.uint8)
        array = views.numpy()
        for k, index in enumerate(chosen.tolist()):
            self.cache.load_into(self.sources[index], array[k], check=not self._checked[index])
            self._checked[index] = True
        return views

    def subset(self, indices: Tensor | Sequence[int]) -> Views:
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        sources = tuple(self.sources[index] for index in chosen.tolist())
        pixels = None if self.pixels is None else self.pixels[chosen]
        return replace(self, sources=sources, labels=self.labels[chosen], pixels=pixels)

    def on_disk(self) -> Views:
        """The same views without what is in memory and without the others of the cache, to be sent elsewhere."""
        keys = {identity: self.cache.keys[identity] for identity in map(view_id, self.sources)}
        return replace(self, cache=replace(self.cache, keys=keys, failures=()), pixels=None)

    def in_memory(self) -> Views:
        if self.pixels is not None:
            return self
        return replace(self, pixels=self.batch(torch.arange(len(self))))


def load_views(
    collection: ShapeCollection,
    settings: ViewSettings,
    folder: Path,
    *,
    processes: int | None = None,
    time_limit: float | None = 300.0,
    memory_budget: int = MEMORY_BUDGET,
    progress: bool = True,
    on_message: Tell = nobody,
    engine: Engine | None = None,
) -> tuple[Views, Views]:
    """The views of a collection, rendered first where they are not in the cache."""
    cache = render_collection(
        (*collection.train, *collection.test),
        settings,
        folder,
        processes=processes,
        time_limit=time_limit,
        progress=progress,
        on_message=on_message,
        engine=engine,
    )
    train, test = (
        tuple(source for source in part if source in cache) for part in (collection.train, collection.test)
    )
    if cache.failures:
        on_message(
            f"{len(collection.train) - len(train):,} of {len(collection.train):,} training and "
            f"{len(collection.test) - len(test):,} of {len(collection.test):,} test shapes could not be "
            f"rendered and are left out, such as {cache.failures[0]}; all are named in {cache.report}"
        )
    had, has = ({source.label for source in part} for part in (collection.train, train))
    if lost := sorted(had - has):
        names = {source.name for source in collection.train if source.label in lost}
        reason = next(failure for failure in cache.failures if failure.name in names)
        raise DataError(
            f"no training shape of {', '.join(collection.classes[label] for label in lost)} could be "
            f"rendered, such as {reason}; see {cache.report}, mend the files or leave the class out"
        )
    views = (_views(train, collection.classes, cache), _views(test, collection.classes, cache))
    if sum(part.n_bytes for part in views) <= memory_budget:
        return views[0].in_memory(), views[1].in_memory()
    return views


def _views(sources: tuple[ShapeSource, ...], classes: tuple[str, ...], cache: ViewCache) -> Views:
    labels = torch.tensor([source.label for source in sources], dtype=torch.int64)
    return Views(sources, labels, classes, cache)
