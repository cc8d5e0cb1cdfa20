"""Labelled views of shapes, read from the cache in which they were rendered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchot.data.errors import DataError
from batchot.data.labels import check_labels
from batchot.data.shape_collection import ShapeCollection
from batchot.shapes.render_many import render_collection
from batchot.shapes.source import ShapeSource
from batchot.shapes.view_cache import ViewCache, view_id
from batchot.shapes.view_settings import ViewSettings

if TYPE_CHECKING:
    from batchot.engine.engine import Engine

MEMORY_BUDGET = 2 << 30
"""Bytes of views that are held in memory unless another number is asked for."""


@dataclass(frozen=True, eq=False)
class Views:
    """Labelled views of shapes, on disk or in memory.

    Args:
        sources: the shapes, all of which have views in the cache.
        labels: index into ``classes`` of each shape, int64, shape ``(n,)``.
        classes: name of each class.
        cache: the views.
        pixels: all of them in memory, uint8, shape ``(n, v, c, h, w)``; ``None``: they are read when asked for.

    Raises:
        DataError: on numbers that differ, on a label without a class.
    """

    sources: tuple[ShapeSource, ...]
    labels: Tensor  # (n,) int64
    classes: tuple[str, ...]
    cache: ViewCache
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
        """What each shape is called."""
        return tuple(source.name for source in self.sources)

    @property
    def view_shape(self) -> tuple[int, int, int, int]:
        """Views, channels, height and width of each shape."""
        return self.cache.settings.view_shape

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The same, which is what a batch has of each shape."""
        return self.view_shape

    @property
    def n_bytes(self) -> int:
        """Bytes of all pixels."""
        return len(self) * int(np.prod(self.view_shape))

    def batch(self, indices: Tensor | Sequence[int]) -> Tensor:
        """The views of some shapes.

        Each file is compared with its checksum when it is read for the first time; one that is damaged is
        rendered again.

        Args:
            indices: of the shapes, int64, shape ``(b,)``.

        Returns:
            Pixels, uint8, shape ``(b, v, c, h, w)``.

        Raises:
            ViewCacheError: views are damaged and the shape is no longer what it was.
        """
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
        """The shapes at ``indices`` (int64, shape ``(k,)``), in that order, with the same classes."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return Views(
            tuple(self.sources[index] for index in chosen.tolist()),
            self.labels[chosen],
            self.classes,
            self.cache,
            None if self.pixels is None else self.pixels[chosen],
        )

    def on_disk(self) -> Views:
        """The same views without what is in memory and without the others of the cache, to be sent elsewhere."""
        keys = {identity: self.cache.keys[identity] for identity in map(view_id, self.sources)}
        return replace(self, cache=replace(self.cache, keys=keys, failures=()), pixels=None)

    def in_memory(self) -> Views:
        """The same views, all read now."""
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
    on_message: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> tuple[Views, Views]:
    """The views of a collection, rendered first where they are not in the cache.

    Args:
        collection: the shapes.
        settings: from where and how they are seen.
        folder: of the cache.
        processes: that render; as many as there are cores if ``None``.
        time_limit: for one shape, seconds; ``None``: none.
        memory_budget: bytes; where training and test views together take no more, they are held in memory.
        progress: show progress bars.
        on_message: told in a sentence what is being done, and how many shapes could not be rendered.
        engine: whose workers render; processes of this machine if ``None``.

    Returns:
        Training and test views, without the shapes that could not be rendered.

    Raises:
        DataError: when no training shape of a class could be rendered.
        ViewCacheError: the disk is full or not writable.

    Example:
        >>> import tempfile
        >>> from batchot.data.views import load_views
        >>> with tempfile.TemporaryDirectory() as name:
        ...     root = Path(name)
        ...     for k in range(2):
        ...         text = f"OFF\\n3 1 0\\n0 0 0\\n1 0 0\\n0 {k + 1} 0\\n3 0 1 2\\n"
        ...         _ = (root / f"{k}.off").write_text(text)
        ...     train, test = (ShapeSource(f"wedge/{k}", root / f"{k}.off") for k in range(2))
        ...     wedges = ShapeCollection("wedges", ("wedge",), (train,), (test,), "meshes", root)
        ...     settings = ViewSettings(cameras="box-6", size=16)
        ...     views, _ = load_views(wedges, settings, root / "views", progress=False)
        >>> views.names, views.batch([0]).shape
        (('wedge/0',), torch.Size([1, 6, 1, 16, 16]))
    """
    say = on_message or (lambda text: None)
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
        say(
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
