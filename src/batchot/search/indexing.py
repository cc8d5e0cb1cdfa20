"""Put shapes into an index, a batch at a time: what was stored stays, whatever happens afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from batchot.data.sets.shape_files import ShapeCollection
from batchot.search.encoder import Encoder, load_encoder
from batchot.search.manifest import Root
from batchot.search.prepare import Prepared
from batchot.search.records import QueryRefused, ShapeRecord, record_id
from batchot.search.sandbox import Sandbox
from batchot.search.store import ShapeStore
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.content import ContentIndex, source_id
from batchot.workers.pool import Engine, Lost

if TYPE_CHECKING:
    from batchot.device import Device

STORE_BATCH, STORE_SECONDS = 256, 10.0
"""Stored after so many shapes or seconds: a killed process loses no more."""


@dataclass
class Indexed:
    """What became of the shapes of a folder."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    measured: int = 0  # as they were, with their sizes, which an older index did not keep
    changed_ids: set[str] = field(default_factory=set)
    gone: list[str] = field(default_factory=list)  # ids of shapes whose files are no longer there
    failures: list[str] = field(default_factory=list)  # a sentence for each shape that could not be read
    notes: list[str] = field(default_factory=list)  # on shapes that were, such as what was left out of them


@dataclass(frozen=True)
class Item:
    """A shape to be indexed: where it lies, what it is called there, its class and the hash of its content."""

    source: ShapeSource
    name: str
    class_name: str
    content: str


def index_shapes(
    collection: ShapeCollection,
    root: Root,
    store: ShapeStore,
    encoder: Encoder,
    *,
    contents: Path,
    classes: bool = True,
    processes: int | None = None,
    progress: bool = False,
    on_shape: Callable[[str], None] = lambda name: None,
    engine: Engine | None = None,
    model: Path = Path("model"),
    device: Device = "auto",
) -> Indexed:
    """Embed and store the shapes of a collection that are new or have changed."""
    found = Indexed()
    items = _items(collection, root, contents, classes, found, progress)
    stored = store.contents()
    ids = {record_id(item.name): item for item in items}
    wanted: list[Item] = []
    for id, item in ids.items():
        if stored.get(id) == item.content:
            found.unchanged += 1
        else:
            wanted.append(item)
            found.changed += id in stored
            found.changed_ids |= {id} & stored.keys()
            found.added += id not in stored
    failed_ids = {record_id(_name_of(source, root)) for source in (*collection.train, *collection.test)}
    of_root = {id for id in stored if id not in ids and id not in failed_ids}
    found.gone = sorted(ids_below(of_root, root, store))
    refused: dict[int, str] = {}
    results = embed_chunks(
        [item.source for item in wanted],
        encoder,
        processes=processes,
        on=None if engine is None else OnWorkers(engine, model, device),
        photos=store.photo_dimensions > 0,
    )
    bar = tqdm(results, total=len(wanted), desc="shapes", unit="shape", disable=not progress)
    writer = _Writer(store, on_shape)
    with closing(results):
        try:
            for k, result in bar:
                item = wanted[k]
                if isinstance(result, QueryRefused):
                    refused[k] = str(result)
                    new = record_id(item.name) not in stored
                    found.added -= new
                    found.changed -= not new
                else:
                    writer.add(item, result)
                    found.notes += [f"{item.name}: {note}" for note in result.prepared.notes]
        finally:  # what was embedded before an interruption is kept
            writer.flush()
    found.failures += [refused[k] for k in sorted(refused)]
    _measure([ids[id] for id in sorted(store.unmeasured() & ids.keys())], store, encoder, processes, found)
    return found


def _measure(
    items: list[Item], store: ShapeStore, encoder: Encoder, processes: int | None, found: Indexed
) -> None:
    """Store the sizes of shapes that are there already, embedded before sizes were kept."""
    measures: dict[str, Prepared] = {}
    with Sandbox(encoder.inputs, processes=processes, files=True) as sandbox:
        sources = [item.source for item in items]
        for k, result in sandbox.prepare_sources(sources, thumbnail=False, preview=False):
            if isinstance(result, QueryRefused):
                found.notes.append(f"{sources[k].name}: its size stays unknown ({result})")
            else:
                measures[record_id(items[k].name)] = replace(result, sample=result.sample[:0])
    store.set_sizes(measures)
    found.measured = len(measures)


class _Writer:
    def __init__(self, store: ShapeStore, on_shape: Callable[[str], None]) -> None:
        self.store, self.on_shape = store, on_shape
        self.records: list[ShapeRecord] = []
        self.stored_at = time.monotonic()

    def add(self, item: Item, embedding: Embedding) -> None:
        self.records.append(_record(item, embedding))
        if len(self.records) >= STORE_BATCH or time.monotonic() - self.stored_at > STORE_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.records:
            self.store.add(self.records)
            for record in self.records:
                self.on_shape(record.name)
            self.records = []
        self.stored_at = time.monotonic()


# of what is prepared
_KEPT = ("kind", "faces", "vertices", "size", "thumbnail", "preview", "area", "volume", "unit")


def _record(item: Item, embedding: Embedding) -> ShapeRecord:
    prepared = embedding.prepared
    return ShapeRecord(
        id=record_id(item.name),
        name=item.name,
        folder=item.name.rpartition("/")[0],
        class_name=item.class_name,
        path=str(item.source.path.resolve()),
        member=item.source.member,
        content=item.content,
        vector=embedding.vector,
        photo=embedding.photo,
        **{name: getattr(prepared, name) for name in _KEPT},
    )


def _items(
    collection: ShapeCollection, root: Root, contents: Path, classes: bool, found: Indexed, progress: bool
) -> list[Item]:
    sources = (*collection.train, *collection.test)
    with tqdm(total=len(sources), desc="looking for changes", unit="file", disable=not progress) as bar:
        known, unreadable = ContentIndex(contents).look_up(sources, lambda total: bar.update())
        bar.update(len(sources) - bar.n)
    items = []
    for source in sources:
        if reason := unreadable.get(source_id(source)):
            found.failures.append(reason)
            continue
        class_name = collection.classes[source.label] if classes else ""
        items.append(Item(source, _name_of(source, root), class_name, known[source_id(source)].sha256))
    return items


def _name_of(source: ShapeSource, root: Root) -> str:
    path = source.path.absolute()
    folder = Path(root.path)
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    return root.prefix + (name if source.member is None else f"{name}#{source.member}")


def ids_below(ids: set[str], root: Root, store: ShapeStore) -> list[str]:
    """Those of the ids whose shapes lay in a folder."""
    folder, names, paths = Path(root.path).resolve(), store.names(), store.paths()
    return [id for id in ids if names[id].startswith(root.prefix) and Path(paths[id]).is_relative_to(folder)]


# Which shapes are embedded together depends on their order alone, not on which was ready first, and every batch that
# the network sees has `CHUNK` rows: so an index holds the same numbers whoever made it, at once or with interruptions.
CHUNK = 16
"""Shapes that are embedded at once."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """A shape with its embedding."""

    prepared: Prepared  # what is known of it, without the sample
    vector: NDArray[np.float32]  # (d,)
    photo: NDArray[np.float32] | None = None  # (f,), with which photos are compared; None: not asked for


@dataclass(frozen=True)
class OnWorkers:
    """Workers that embed."""

    engine: Engine  # whose workers see the shapes and the model as this process does
    model: Path  # folder of the network
    device: Device = "auto"  # as for `load_encoder`


def embed_chunks(
    sources: Sequence[ShapeSource],
    encoder: Encoder,
    *,
    processes: int | None = None,
    on: OnWorkers | None = None,
    photos: bool = False,
) -> Generator[tuple[int, Embedding | QueryRefused], None, None]:
    """Make shapes ready and embed them."""
    if on is None:
        yield from _here(sources, encoder, processes, photos)
        return
    chunks = [sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK)]
    if not chunks:
        return
    import torch

    from batchot.device import accelerator_of

    kind: Device = "cpu" if accelerator_of(on.device) == "cpu" else "cuda"
    make = partial(ChunkSeat, on.model.absolute(), kind, torch.get_num_threads(), photos)
    with on.engine.pool(make, shared=(on.model, sources[0].path.parent), gpu=kind != "cpu") as pool:
        for number, answer in pool.run(chunks):
            if isinstance(answer, Lost):
                answer = [f"{source.location}: {answer}" for source in chunks[number]]
            for k, found in enumerate(answer, number * CHUNK):
                yield k, QueryRefused(found, "damaged") if isinstance(found, str) else found


class ChunkSeat:
    """A network, and a process that reads files for it, at a worker."""

    def __init__(self, model: Path, device: Device, threads: int, photos: bool = False) -> None:
        import torch

        torch.set_num_threads(threads)
        self._encoder, self._photos = load_encoder(model, device), photos
        self._sandbox = Sandbox(self._encoder.inputs, processes=1, files=True)

    def __call__(self, sources: Sequence[ShapeSource]) -> list[Embedding | str]:
        """The embeddings of a chunk; where there is none, why not."""
        found = dict(self._sandbox.prepare_sources(sources))
        results = _embedded([found[k] for k in range(len(sources))], self._encoder, self._photos)
        return [str(result) if isinstance(result, QueryRefused) else result for result in results]


def _here(
    sources: Sequence[ShapeSource], encoder: Encoder, processes: int | None, photos: bool
) -> Iterator[tuple[int, Embedding | QueryRefused]]:
    waiting: dict[int, dict[int, Prepared | QueryRefused]] = {}
    with Sandbox(encoder.inputs, processes=processes, files=True) as sandbox:
        for k, result in sandbox.prepare_sources(sources):
            number = k // CHUNK
            chunk = waiting.setdefault(number, {})
            chunk[k] = result
            if len(chunk) == min(CHUNK, len(sources) - number * CHUNK):
                del waiting[number]
                order = sorted(chunk)
                yield from zip(order, _embedded([chunk[k] for k in order], encoder, photos), strict=True)


def _embedded(
    chunk: Sequence[Prepared | QueryRefused], encoder: Encoder, photos: bool
) -> list[Embedding | QueryRefused]:
    samples = [prepared.sample for prepared in chunk if isinstance(prepared, Prepared)]
    if not samples:
        return [prepared for prepared in chunk if isinstance(prepared, QueryRefused)]
    # Always as many rows: kernels are chosen by them, and the last bits of a sum depend on the kernel.
    padded = np.stack(samples + samples[:1] * (CHUNK - len(samples)))
    vectors = iter(encoder.shapes(padded))
    seen = iter(encoder.seen_as_photos(padded) if photos else [None] * CHUNK)
    return [
        prepared
        if isinstance(prepared, QueryRefused)
        else Embedding(replace(prepared, sample=prepared.sample[:0]), next(vectors), next(seen))
        for prepared in chunk
    ]
