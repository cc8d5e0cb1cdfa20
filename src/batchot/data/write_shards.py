"""Rendered views written as shards, by this process or by the workers of an engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from batchot.data.shard_file import (
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
    from batchot.data.sets.collection import ShapeCollection
    from batchot.shapes.source import ShapeSource
    from batchot.shapes.views.cache import ViewCache
    from batchot.workers.pool import Engine

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
