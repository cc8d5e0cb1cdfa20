"""An index that answers queries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from batchot.errors import RunError
from batchot.files import picture_file, stamp_of
from batchot.search.confidence import NEIGHBOURS, Calibration
from batchot.search.encoder import Encoder, load_encoder
from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.map import MapPoints, read_map
from batchot.search.records import Filters, Hit, NotThere, QueryRefused, SearchError, Unavailable
from batchot.search.sandbox import Sandbox
from batchot.search.store import ShapeStore, by_relevance, no_such_name
from batchot.towers.spec import Inputs, ViewsInput

if TYPE_CHECKING:
    from batchot.device import Device
    from batchot.search.prepare import Prepared, What
    from batchot.shapes.shape import Up

QueryKind: TypeAlias = Literal["auto", "shape", "picture", "sketch", "photo"]
MOST_RESULTS = 1000
"""Results that one answer may hold."""
NEAR = 0.1
"""Of the median distance of two shapes: what is nearer is nearly the same, where its proportions are."""
_PROPORTION = 0.01
_WANTED: dict[str, What] = {
    "auto": "any",
    "shape": "shape",
    "picture": "drawing",
    "sketch": "drawing",
    "photo": "photo",
}


@dataclass(frozen=True)
class IndexAbout:
    """What an index holds."""

    name: str  # of its folder
    count: int  # shapes
    classes: dict[str, int]  # number of shapes of each class; "" is none
    folders: dict[str, int]  # number of shapes in each folder
    dimensions: int  # of the embeddings
    takes_drawings: bool  # the network has a tower for sketches
    takes_photos: bool  # photos of objects are compared with the shaded views
    run: str  # where the run lay that the network comes from
    built: str  # date of the last change, UTC
    approximate: bool  # search is approximate
    recall: float | None  # measured recall@10 of approximate search; None: search is exact
    calibration: dict[str, Calibration]  # by kind of query, "shape" and "drawing"
    fingerprint: str = ""  # of the network
    spread: float | None = None  # median distance of two shapes; None: not measured


@dataclass(frozen=True)
class Answer:
    """What an index says to a query."""

    hits: tuple[Hit, ...]  # the nearest shapes, nearest first
    total: int  # shapes that pass the filters
    # as what the query was taken; "name" where only names and filters were asked for
    query: Literal["shape", "drawing", "photo", "name"]
    top_class: str | None  # the class that its neighbours speak for; None where the index has no classes
    # calibrated probability that this is right, in [0, 1]; None where the index is not calibrated
    confidence: float | None
    # classes with their probabilities, the most probable first; what is left to 1 is for other classes
    ranking: tuple[tuple[str, float], ...]
    nothing_like_it: bool  # the query is unlike all that the index holds
    seconds: dict[str, float]  # spent on "prepare", "embed" and "search"
    same_files: tuple[
        str, ...
    ] = ()  # names of the shapes that were read from the very file that was asked for
    note: str = ""  # what makes the answer doubtful; empty where nothing does


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for, embedded."""

    vector: NDArray[np.float32]  # (d,)
    what: Literal["shape", "drawing", "photo"]  # as what it was taken
    prepare_seconds: float = 0.0  # that reading it took
    embed_seconds: float = 0.0  # that embedding it took
    fingerprint: str = ""  # of the network that embedded it; empty: it is not asked
    content: str = ""  # SHA-256 of its file; empty: it has none
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)  # extents along x, y and z; zeros for pictures
    picture: bytes = b""  # of it, WebP; empty where none was asked for
    note: str = ""  # what makes the answer doubtful


@dataclass(frozen=True, eq=False)
class _Opened:
    """An index as it was at one moment."""

    stamp: tuple[int, ...]
    manifest: Manifest
    store: ShapeStore
    encoder: Encoder

    @property
    def inputs(self) -> Inputs:
        """As what queries are taken: photos only where the shapes are stored for them."""
        inputs = self.encoder.inputs
        return inputs if self.store.photo_dimensions else replace(inputs, photo=None)


class Searcher:
    """An open index; many threads may ask it at once.

    Args:
        folder: of the index
        load: opens it
        sandbox: makes the sandbox in which queries are read

    It notices when the index changes while it is open: new calibrations, dates and classes, and another network, which
    it then loads.

    Example::

        with Searcher.open("parts.index") as searcher:
            answer = searcher.search_file("bracket.stl", k=5)
            print(answer.top_class, [hit.name for hit in answer.hits])
    """

    def __init__(
        self,
        folder: IndexFolder,
        load: Callable[[_Opened | None], _Opened],
        sandbox: Callable[[Inputs], Sandbox],
    ) -> None:
        self.folder, self._load, self._make_sandbox = folder, load, sandbox
        self._opened = load(None)
        self._sandbox: Sandbox | None = None
        self._lock = threading.RLock()
        self._about: tuple[tuple[object, ...], IndexAbout] | None = None
        self._map: tuple[tuple[object, ...], MapPoints] | None = None

    @classmethod
    def open(
        cls,
        index: str | Path,
        *,
        model: Path | None = None,
        store: str | None = None,
        device: Device = "auto",
        sandbox: Callable[[Inputs], Sandbox] = Sandbox,
        allow_store: bool = False,
    ) -> Self:
        """Open an index.

        Args:
            index: its folder
            model: a run, or an exported model, that embeds in place of the one that the index keeps
            store: address of the store, where it has moved
            device: "auto" takes a GPU if there is one
            sandbox: makes the sandbox in which queries are read, from what the network takes
            allow_store: the shapes may lie where the index says, see `IndexFolder.store_uri`

        Raises:
            SearchError: there is no index, it is damaged, or the model is another one
        """
        folder = IndexFolder(Path(index))

        def load(before: _Opened | None) -> _Opened:
            stamp = stamp_of(folder.manifest)
            manifest = Manifest.read(folder.manifest)
            if before is not None and before.encoder.fingerprint == manifest.fingerprint:
                encoder = before.encoder
            else:
                encoder = load_encoder(folder.model if model is None else model, device)
            if encoder.fingerprint != manifest.fingerprint:
                which = folder.model if model is None else model
                raise SearchError(
                    f"{which} is not the network that {folder.root} was built with: its embeddings cannot be compared. "
                    "Build the index again, or give the run or export that it was built with"
                )
            uri = store or folder.store_uri(manifest, allow=allow_store)
            probes = {} if manifest.approximate is None else {"probes": int(manifest.approximate["probes"])}
            return _Opened(stamp, manifest, ShapeStore.open(uri, **probes), encoder)

        return cls(folder, load, sandbox)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes of the sandbox and close the store."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
                self._sandbox = None
        self._opened.store.close()

    def _now(self) -> _Opened:
        """The index as it is now."""
        opened = self._opened
        if stamp_of(self.folder.manifest) == opened.stamp:
            return opened
        with self._lock:
            opened = self._opened
            if stamp_of(self.folder.manifest) == opened.stamp:
                return opened
            try:
                self._opened = self._load(opened)
            except (SearchError, RunError, OSError) as error:
                raise Unavailable(f"the index was changed and cannot be opened now: {error}") from error
            if self._sandbox is not None and self._sandbox.inputs != self._opened.inputs:
                self._sandbox.close()
                self._sandbox = None
            return self._opened

    @property
    def manifest(self) -> Manifest:
        """What the index says of itself."""
        return self._now().manifest

    @property
    def store(self) -> ShapeStore:
        """The shapes."""
        return self._now().store

    @property
    def encoder(self) -> Encoder:
        """From samples to embeddings."""
        return self._now().encoder

    @property
    def sandbox(self) -> Sandbox:
        """The processes in which queries are read, started when first needed."""
        inputs = self._now().inputs
        with self._lock:
            if self._sandbox is None:
                self._sandbox = self._make_sandbox(inputs)
            return self._sandbox

    def warm_up(self) -> None:
        """Start the processes, and use the network once: the first query need not wait for either."""
        self.sandbox.warm_up()
        encoder = self.encoder
        shape = encoder.inputs.shape
        kind = np.uint8 if isinstance(shape, ViewsInput) else np.float32
        encoder.shapes(np.zeros((1, *shape.sample_shape), kind))
        if (drawing := encoder.inputs.drawing) is not None:
            encoder.drawings(np.zeros((1, *drawing.sample_shape), np.uint8))

    @property
    def about(self) -> IndexAbout:
        """What the index holds."""
        opened = self._now()
        key = (opened.stamp, len(opened.store))
        if self._about is None or self._about[0] != key:
            manifest = opened.manifest
            approximate = manifest.approximate if opened.store.has_approximate else None
            about = IndexAbout(
                name=self.folder.root.resolve().name,
                count=key[1],
                classes=opened.store.classes(),
                folders=opened.store.folders(),
                dimensions=manifest.dimensions,
                takes_drawings=opened.encoder.inputs.drawing is not None,
                takes_photos=opened.inputs.photo is not None,
                run=manifest.run,
                built=manifest.changed,
                approximate=opened.store.has_approximate,
                recall=None if approximate is None else approximate.get("recall"),
                calibration=dict(manifest.calibrations),
                fingerprint=manifest.fingerprint,
                spread=manifest.spread,
            )
            self._about = (key, about)
        return self._about[1]

    def search_bytes(
        self,
        data: bytes,
        name: str = "",
        *,
        kind: QueryKind = "auto",
        up: Up = "auto",
        k: int = 20,
        offset: int = 0,
        filters: Filters | None = None,
    ) -> Answer:
        """As `search_file`, from the content of a file; nothing on disk is looked for by its name."""
        _check_page(k, offset)
        query = self.embed_bytes(data, name, kind=kind, up=up)
        return self.search_query(query, k=k, offset=offset, filters=filters)

    def embed_bytes(
        self,
        data: bytes,
        name: str = "",
        *,
        kind: QueryKind = "auto",
        up: Up = "auto",
        tolerance: float | None = None,
        picture: bool = False,
        seconds: float | None = None,
    ) -> Query:
        """Embed a shape or a drawing within so many seconds, so that it can be looked up many times."""
        start = time.perf_counter()
        axis = self.manifest.up if up == "auto" else up
        prepared = self.sandbox.prepare_bytes(
            data,
            name,
            _wanted(kind),
            up=axis,
            tolerance=self.manifest.tolerance if tolerance is None else tolerance,
            thumbnail=picture,
            seconds=seconds,
        )
        return self._embed(prepared, time.perf_counter() - start)

    def search_query(
        self, query: Query, *, k: int = 20, offset: int = 0, filters: Filters | None = None
    ) -> Answer:
        """Look up what is nearest to a query of `embed_bytes`."""
        opened = self._now()
        if query.fingerprint and query.fingerprint != opened.manifest.fingerprint:
            raise NotThere("the index has another network now; ask again")
        answer = self._look_up(opened, query, k, offset, filters or Filters())
        answer.seconds.update(prepare=query.prepare_seconds, embed=query.embed_seconds)
        return answer

    def search_file(
        self,
        path: str | Path,
        *,
        kind: QueryKind = "auto",
        up: Up = "auto",
        k: int = 20,
        offset: int = 0,
        filters: Filters | None = None,
    ) -> Answer:
        """Look up what is nearest to a shape or a drawing; a glTF file may name files beside it.

        Args:
            path: a mesh, a cloud of points, a picture
            kind: what to take it for; "auto" is what the content says. Pictures and sketches are the same: dark
                strokes on light paper, or light on dark. A photo shows an object, and is compared with the shaded
                views by features of ImageNet, where the index was built with a network that has them
            up: the axis of the file that points up; "auto" is that of the folder of the index in which it lies, see
                `batchot index build --up`, else that of the files of the index, and where these differ, what the
                format says
            k: how many results
            offset: how many of the nearest to pass over, for further pages
            filters: which shapes may be found

        Raises:
            QueryRefused: it cannot be taken; the message says why
            SearchError: the network has no tower for drawings, or the store fails
            ValueError: k or offset out of range
            OSError: the file cannot be read
        """
        _check_page(k, offset)
        return self.search_query(self.embed_file(path, kind=kind, up=up), k=k, offset=offset, filters=filters)

    def embed_file(self, path: str | Path, *, kind: QueryKind = "auto", up: Up = "auto") -> Query:
        """As `embed_bytes`, from a file, see `search_file`."""
        what, start = _wanted(kind), time.perf_counter()
        return self._embed(self._prepare(Path(path), up, what), time.perf_counter() - start)

    def picture(self, path: str | Path, *, up: Up = "auto") -> bytes:
        """Give what a query looks like: a shape's thumbnail, or a drawing as the network sees it."""
        prepared = self._prepare(Path(path), up, thumbnail=True)
        if prepared.what == "shape":
            return prepared.thumbnail
        seen = prepared.sample.transpose(1, 2, 0) if prepared.what == "photo" else prepared.sample[0]
        return picture_file(Image.fromarray(seen))

    def similar(self, id: str, *, k: int = 20, offset: int = 0, filters: Filters | None = None) -> Answer:
        """Look up what is nearest to a shape of the index, itself left out."""
        opened = self._now()
        filters = filters or Filters()
        hit = opened.store.get(id)
        query = Query(opened.store.vector(id), "shape", size=hit.size)
        filters = replace(filters, exclude=(*filters.exclude, id))
        answer = self._look_up(opened, query, k, offset, filters)
        # its class is known and needs no guess
        return replace(
            answer,
            top_class=hit.class_name or None,
            confidence=None,
            ranking=(),
            nothing_like_it=False,
            same_files=(),
        )

    def search_names(self, filters: Filters, *, k: int = 20, offset: int = 0) -> Answer:
        """Look up shapes by the words of their names (whole words come first), or all that pass some filters."""
        _check_page(k, offset)
        start = time.perf_counter()
        store = self._now().store
        filters = filters.for_query((0.0, 0.0, 0.0))
        names = store.names(self._resolved(filters))
        ordered = by_relevance(names, filters.words)
        hits = store.get_many(ordered[offset : offset + k])
        note = "" if names else no_such_name(filters.words, store)
        seconds = {"prepare": 0.0, "embed": 0.0, "search": time.perf_counter() - start}
        return Answer(tuple(hits), len(names), "name", None, None, (), False, seconds, note=note)

    def counts(self, filters: Filters) -> tuple[dict[str, int], dict[str, int]]:
        """Give the number of shapes of each class, and in each folder, that the other filters leave."""
        store, resolved = self._now().store, self._resolved(filters)
        return store.classes(replace(resolved, classes=())), store.folders(replace(resolved, folders=()))

    def fuse(self, queries: Sequence[Query]) -> Query:
        """Make one query of several: views of a thing, drawings of it, a drawing and a mesh."""
        # As mean_i ||q_i - x||^2 = ||q - x||^2 + const for their mean q, the order is that of the mean of the squared
        # distances, for the price of one search.
        if not queries:
            raise ValueError("there must be at least one query")
        if len(queries) == 1:
            return queries[0]
        if len({query.fingerprint for query in queries}) > 1:
            raise NotThere("the index has another network now; ask again")
        if len({query.what == "photo" for query in queries}) > 1:
            raise QueryRefused(
                "photos are compared otherwise than shapes and drawings; ask for them apart", "format"
            )
        vector: NDArray[np.float64] = np.stack([query.vector for query in queries]).mean(0, dtype=np.float64)
        norm = float(np.linalg.norm(vector))
        if (self.manifest.normalized or queries[0].what == "photo") and norm > 0:
            vector /= norm
        notes = [f"{len(queries)} files were asked for as one; how sure is calibrated for a single one"]
        notes += [query.note for query in queries if query.note]
        return Query(
            vector.astype(np.float32),
            next((query.what for query in queries if query.what != "shape"), "shape"),
            sum(query.prepare_seconds for query in queries),
            sum(query.embed_seconds for query in queries),
            queries[0].fingerprint,
            picture=next((query.picture for query in queries if query.picture), b""),
            note="; ".join(dict.fromkeys(notes)),
        )

    def _resolved(self, filters: Filters) -> Filters:
        """The filters with what is like the rejected shapes among the excluded ones."""
        opened, gone = self._now(), list(filters.exclude)
        if filters.of_sizes and not opened.store.keeps_sizes:
            raise QueryRefused(
                "this index was built before sizes were kept; batchot index build with the same run and folder fills "
                "them in, without embedding anything again",
                "filter",
            )
        if not filters.unlike:
            return filters
        for id in filters.unlike:
            radius = NEAR * (opened.manifest.spread or 0.0)
            near = opened.store.search(opened.store.vector(id), MOST_RESULTS)
            gone += [id, *(hit.id for hit in near if hit.distance <= radius)]
        return replace(filters, unlike=(), exclude=tuple(dict.fromkeys(gone)))

    def _look_up(self, opened: _Opened, query: Query, k: int, offset: int, filters: Filters) -> Answer:
        _check_page(k, offset)
        start = time.perf_counter()
        store, manifest = opened.store, opened.manifest
        filters = filters.for_query(query.size)
        everything, filters = Filters(exclude=filters.exclude), self._resolved(filters)
        photo = query.what == "photo"
        hits = store.search(query.vector, offset + k, filters=filters, photo=photo)
        # the class is judged by all neighbours, whatever the filters leave
        all_hits = (
            hits
            if filters == everything and len(hits) >= NEIGHBOURS
            else store.search(query.vector, NEIGHBOURS, filters=everything, photo=photo)
        )
        neighbours = all_hits[:NEIGHBOURS]
        same = store.of_content(query.content) if query.content else []
        total = store.count(filters)
        distances, classes = np.array([h.distance for h in neighbours]), [h.class_name for h in neighbours]
        calibration = manifest.calibrations.get(query.what)
        judgement = None if calibration is None else calibration.judge(distances, classes)
        found = hits[offset:]
        likeness: list[float | None] = [None] * len(found)
        if calibration is not None and found:
            likeness = calibration.likeness(
                distances, classes, np.array([h.distance for h in found]), [h.class_name for h in found]
            )
        same_ids = {hit.id for hit in same}
        found = [
            replace(
                hit,
                likeness=p,
                same_file=hit.id in same_ids,
                nearly_same=hit.id not in same_ids and _nearly_same(query, hit, manifest.spread),
            )
            for hit, p in zip(found, likeness, strict=True)
        ]
        named = [name for name in classes if name]
        return Answer(
            tuple(found),
            total,
            query.what,
            judgement.ranking[0][0] if judgement else named[0] if named else None,
            judgement.confidence if judgement else None,
            judgement.ranking if judgement else (),
            judgement.nothing_like_it and not same if judgement else False,
            {"prepare": 0.0, "embed": 0.0, "search": time.perf_counter() - start},
            tuple(hit.name for hit in same),
            query.note if total else (no_such_name(filters.words, store) or query.note),
        )

    def shape(self, id: str) -> Hit:
        """Give what is known of a shape; its distance is 0."""
        return self.store.get(id)

    def thumbnail(self, id: str) -> bytes:
        """Give its picture."""
        return self.store.thumbnail(id)

    def preview(self, id: str) -> bytes:
        """Give its mesh of few faces, or its points, as GLB."""
        return self.store.preview(id)

    def original(self, id: str) -> Path | None:
        """Give the file that a shape was read from, where it is a file of its own that still holds the same."""
        from batchot.errors import ShapeError
        from batchot.shapes.source import ShapeSource
        from batchot.shapes.views.content import hash_content

        hit = self.store.get(id)
        path = Path(hit.path)
        try:  # it may lie where whoever serves may not look
            if hit.member is not None or not path.is_file():
                return None
            same = hash_content(ShapeSource(hit.name, path)).sha256 == self.store.content(id)
        except (OSError, ShapeError):
            return None
        return path if same else None

    def map_points(self) -> MapPoints:
        """Give the map of the embedding, without shapes that have been removed since."""
        opened = self._now()
        key = (opened.stamp, stamp_of(self.folder.map), len(opened.store))
        if self._map is None or self._map[0] != key:
            points = read_map(self.folder.map)
            there = opened.store.contents()
            kept = [k for k, id in enumerate(points.ids) if id in there]
            points = MapPoints(
                tuple(points.ids[k] for k in kept),
                points.xy[kept],
                tuple(points.classes[k] for k in kept),
                tuple(points.names[k] for k in kept),
                points.laid_out[kept],
                key[2],
                points.changes,
            )
            self._map = (key, points)
        return self._map[1]

    def _prepare(self, path: Path, up: Up, what: What = "any", *, thumbnail: bool = False) -> Prepared:
        from batchot.shapes.source import ShapeSource

        axis, tolerance = self.manifest.how_of(path)
        axis = axis if up == "auto" else up
        if path.suffix.lower() != ".gltf" or what not in ("any", "shape"):
            return self.sandbox.prepare_bytes(
                path.read_bytes(), str(path), what, up=axis, tolerance=tolerance, thumbnail=thumbnail
            )
        # glTF names files beside it, which the sandbox for strangers does not open
        with Sandbox(self.encoder.inputs, processes=1, files=True) as sandbox:
            source = ShapeSource(path.name, path, up=axis, tolerance=tolerance)
            for _, prepared in sandbox.prepare_sources([source], thumbnail=thumbnail, preview=False):
                if isinstance(prepared, SearchError):
                    raise prepared
                return prepared
        raise SearchError(f"{path} could not be read")

    def _embed(self, prepared: Prepared, took: float) -> Query:
        start = time.perf_counter()
        encoder = self._now().encoder
        embeds = {"shape": encoder.shapes, "drawing": encoder.drawings, "photo": encoder.photos}
        vector = embeds[prepared.what](prepared.sample[None])[0]
        return Query(
            vector,
            prepared.what,
            took,
            time.perf_counter() - start,
            encoder.fingerprint,
            prepared.content,
            prepared.size,
            prepared.thumbnail,
            prepared.note,
        )


def _nearly_same(query: Query, hit: Hit, spread: float | None) -> bool:
    """It is nearer than a tenth of what two shapes usually are apart, and of the same proportions within 1 %."""
    if spread is None or hit.distance > NEAR * spread:
        return False
    return same_proportions(query.size, hit.size)


def same_proportions(one: Sequence[float], other: Sequence[float]) -> bool:
    """Say whether two shapes have the same proportions within 1 %, whatever their sizes and how they are turned."""
    a, b = sorted(one), sorted(other)
    if a[-1] <= 0 or b[-1] <= 0:
        return False
    return all(abs(x / a[-1] - y / b[-1]) <= _PROPORTION for x, y in zip(a, b, strict=True))


def _wanted(kind: QueryKind) -> What:
    found = _WANTED.get(kind)
    if found is None:
        raise ValueError(f"kind must be {', '.join(_WANTED)}, got {kind!r}")
    return found


def _check_page(k: int, offset: int) -> None:
    if not 1 <= k <= MOST_RESULTS or not 0 <= offset <= MOST_RESULTS:
        raise ValueError(
            f"k must lie in 1 .. {MOST_RESULTS} and offset in 0 .. {MOST_RESULTS}, got {k} and {offset}"
        )
