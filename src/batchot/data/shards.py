"""Views in few large files: written as tar shards, and read in passes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from batchot.data.samples import Splits, check_labels
from batchot.data.shard_file import (
    AGAIN,
    INDEX,
    Rows,
    Shard,
    ShardIndex,
    ShardTask,
    ShardWriter,
    Written,
    sample_bytes,
)
from batchot.errors import DataError
from batchot.shapes.views.cache import view_id
from batchot.workers.pool import EngineError, Lost

if TYPE_CHECKING:
    from batchot.data.sets.shape_files import ShapeCollection
    from batchot.shapes.source import ShapeSource
    from batchot.shapes.views.cache import ViewCache, ViewShape
    from batchot.shapes.views.settings import ViewSettings
    from batchot.workers.pool import Engine


@dataclass(frozen=True, eq=False)
class ShardedViews:
    """Labelled views in tar files, of which only the batch that is asked for is in memory."""

    files: tuple[Path, ...]  # the shards
    shards: NDArray[np.int64]  # index into ``files`` of each sample, int64, shape ``(n,)``
    offsets: NDArray[np.int64]  # where its pixels begin there, int64, shape ``(n,)``
    checksums: NDArray[np.uint8]  # SHA-256 of its pixels, uint8, shape ``(n, 32)``
    labels: Tensor  # index into ``classes`` of each sample, int64, shape ``(n,)``
    classes: tuple[str, ...]  # name of each class
    names: tuple[str, ...]  # of the shapes
    view_shape: ViewShape  # of each sample, ``(v, c, h, w)``
    _checked: NDArray[np.bool_] = field(init=False, repr=False)  # (n,) whether a sample was compared

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes)
        object.__setattr__(self, "_checked", np.zeros(len(self.labels), bool))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.view_shape

    def batch(self, indices: Tensor | Sequence[int]) -> Tensor:
        """The views of some shapes; each is compared with its checksum when it is read for the first time."""
        chosen = np.asarray(torch.as_tensor(indices, dtype=torch.int64))
        views = torch.empty((len(chosen), *self.view_shape), dtype=torch.uint8)
        array = views.numpy()
        order = np.lexsort((self.offsets[chosen], self.shards[chosen]))  # each file once, and onwards
        for shard in np.unique(self.shards[chosen]):
            path = self.files[shard]
            try:
                with open(path, "rb", buffering=0) as file:
                    for row in order[self.shards[chosen[order]] == shard]:
                        self._read(file, path, int(chosen[row]), array[row])
            except OSError as error:
                raise DataError(
                    f"{path} cannot be read ({error.strerror or error}); {AGAIN} {path.parent}"
                ) from error
        return views

    def _read(self, file: object, path: Path, index: int, views: NDArray[np.uint8]) -> None:
        file.seek(int(self.offsets[index]))  # type: ignore[attr-defined]
        n = file.readinto(views.data.cast("B"))  # type: ignore[attr-defined]
        whole = n == views.nbytes
        if whole and not self._checked[index]:
            whole = hashlib.sha256(views.data).digest() == self.checksums[index].tobytes()
            self._checked[index] = whole
        if not whole:
            raise DataError(
                f"{path} is damaged: the views of {self.names[index]} are not those that were written; delete it and "
                f"{AGAIN} {path.parent}"
            )

    def subset(self, indices: Tensor | Sequence[int]) -> ShardedViews:
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        rows = chosen.numpy()
        return replace(
            self,
            shards=self.shards[rows],
            offsets=self.offsets[rows],
            checksums=self.checksums[rows],
            labels=self.labels[chosen],
            names=tuple(self.names[row] for row in rows.tolist()),
        )


def load_shards(root: Path, settings: ViewSettings | None = None) -> Splits[ShardedViews]:
    """Find the shards that ``batchot render --shards`` has written; no views are read yet."""
    index = ShardIndex.read(root)
    if not index.samples_sha256:
        raise DataError(f"{root}: the shards are not finished; type the command that writes them again")
    if settings is not None:
        _check_settings(root, index, settings)
    bad = []
    for shard in index.shards:
        try:
            size = (root / shard.file).stat().st_size
        except OSError:
            bad.append(f"{shard.file} is missing")
            continue
        if size != shard.bytes:
            bad.append(f"{shard.file} has {size:,} bytes, not {shard.bytes:,}")
    if bad:
        more = f" and {len(bad) - 3:,} more" if len(bad) > 3 else ""
        raise DataError(f"{root}: {'; '.join(bad[:3])}{more}; copy it again or {AGAIN} {root}")
    rows = Rows.read(root, index.samples_sha256)
    counts = [shard.samples for shard in index.shards]
    if sum(counts) != len(rows.labels):
        raise DataError(f"{root / INDEX} and its samples do not belong together; {AGAIN} {root}")
    whole = ShardedViews(
        tuple(root / shard.file for shard in index.shards),
        np.repeat(np.arange(len(counts)), counts),
        rows.offsets,
        rows.checksums,
        torch.from_numpy(rows.labels.astype(np.int64)),
        index.classes,
        rows.names,
        index.view_shape,
    )
    n_train = sum(shard.samples for shard in index.shards if shard.part == "train")
    everything = torch.arange(len(whole))
    return Splits(index.name, whole.subset(everything[:n_train]), whole.subset(everything[n_train:]))


def _check_settings(root: Path, index: ShardIndex, settings: ViewSettings) -> None:
    wanted = settings.description
    if wanted == index.settings:
        return
    there = {"cameras": index.cameras, **index.settings}
    asked = {"cameras": settings.placed.name, **wanted}
    overrides = [
        f"shapes.{name}={_spelled(there.get(name))}"
        for name in ("cameras", "size", "channels", "antialias", "up")
        if there.get(name) != asked[name]
    ]
    hint = f"train with {' '.join(overrides)}, or render" if overrides else "render"
    raise DataError(f"{root} shows the shapes otherwise than the recipe: {hint} them again")


def _spelled(value: object) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


SHARD_BYTES = 256 << 20
"""Of a shard, about."""


def write_shards(
    collection: ShapeCollection,
    cache: ViewCache,
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    engine: Engine | None = None,
    progress: bool = False,
) -> ShardIndex:
    """Write the views of a collection as WebDataset tars with an index."""
    tasks = list(_tasks(collection, cache, folder, shard_bytes))
    if not tasks:
        raise DataError(
            f"no shape of {collection.name} could be rendered: there is nothing to write to {folder}"
        )
    planned = ShardIndex(
        collection.name,
        collection.classes,
        cache.settings.placed.name,
        cache.settings.description,
        cache.settings.view_shape,
        _plan(tasks, cache),
        tuple(Shard(task.path.name, task.part, len(task.sources)) for task in tasks),
    )
    _begin(folder, planned)
    done: dict[int, Written] = {}
    with tqdm(total=len(tasks), desc="shards", unit="shard", disable=not progress) as bar:
        for number, written in _written(tasks, folder, engine):
            done[number] = written
            bar.update()
    parts = [done[number] for number in range(len(tasks))]
    sources = [source for task in tasks for source in task.sources]
    rows = Rows(
        tuple(source.name for source in sources),
        np.array([source.label for source in sources], np.int64),
        np.array([offset for part in parts for offset in part.offsets], np.int64),
        np.array([list(checksum) for part in parts for checksum in part.checksums], np.uint8),
        tuple(cache.keys[view_id(source)] for source in sources),
    )
    shards = tuple(
        replace(shard, bytes=part.n_bytes) for shard, part in zip(planned.shards, parts, strict=True)
    )
    index = replace(planned, shards=shards, samples_sha256=rows.write(folder))
    index.write(folder)
    return index


def _tasks(
    collection: ShapeCollection, cache: ViewCache, folder: Path, shard_bytes: int
) -> Iterator[ShardTask]:
    share = max(1, shard_bytes // sample_bytes(cache.settings.view_shape))
    first = 0
    for part, sources in (("train", collection.train), ("test", collection.test)):
        there = [source for source in sources if source in cache]
        for number, start in enumerate(range(0, len(there), share)):
            chosen = tuple(there[start : start + share])
            keys = {view_id(source): cache.keys[view_id(source)] for source in chosen}
            own = replace(cache, keys=keys, failures=())
            path = folder.absolute() / f"{part}-{number:05d}.tar"
            yield ShardTask(path, part, first, chosen, collection.classes, own)
            first += len(chosen)


def _plan(tasks: Sequence[ShardTask], cache: ViewCache) -> str:
    def row(source: ShapeSource) -> list[Any]:
        return [source.name, source.label, cache.keys[view_id(source)]]

    digest = hashlib.sha256(json.dumps([cache.settings.description, tasks[0].classes]).encode())
    for task in tasks:
        digest.update(json.dumps([task.path.name, [row(source) for source in task.sources]]).encode())
    return digest.hexdigest()


def _begin(folder: Path, planned: ShardIndex) -> None:
    if (folder / INDEX).exists():
        there = ShardIndex.read(folder)
        if there.plan != planned.plan:
            raise DataError(
                f"{folder} holds shards of other shapes ({there.name}), other settings or another size; "
                "give another folder, or delete it"
            )
        return  # a complete index stays until the new one takes its place
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no shards; give a new folder")
    planned.write(folder)


def _written(
    tasks: Sequence[ShardTask], folder: Path, engine: Engine | None
) -> Iterator[tuple[int, Written]]:
    if engine is None:
        writer = ShardWriter()
        yield from ((number, writer(task)) for number, task in enumerate(tasks))
        return
    with engine.pool(ShardWriter, shared=(folder / INDEX, tasks[0].cache.folder)) as pool:
        for number, answer in pool.run(tasks):
            if isinstance(answer, Lost):
                raise EngineError(f"{tasks[number].path} could not be written: {answer}")
            yield number, answer
