"""An index that answers queries."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from batchot.search.calibration import Calibration
from batchot.search.encoder import Encoder, load_encoder
from batchot.search.errors import SearchError
from batchot.search.filters import Filters
from batchot.search.inputs import Inputs
from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.map_file import read_map
from batchot.search.neighbour_votes import NEIGHBOURS
from batchot.search.projection_map import MapPoints
from batchot.search.records import Hit
from batchot.search.sandbox import Sandbox
from batchot.search.store import ShapeStore

if TYPE_CHECKING:
    from batchot.search.prepare import Prepared
    from batchot.shapes.shape import Up
    from batchot.training.device import Device

QueryKind: TypeAlias = Literal["auto", "shape", "picture", "sketch"]
MOST_RESULTS = 1000
"""Results that one answer may hold."""


@dataclass(frozen=True)
class IndexAbout:
    """What an index holds.

    Args:
        name: of its folder
        count: shapes
        classes: number of shapes of each class; "" is none
        folders: number of shapes in each folder
        dimensions: of the embeddings
        takes_drawings: the network has a tower for sketches
        run: where the run lay that the network comes from
        built: date of the last change, UTC
        approximate: search is approximate
        recall: measured recall@10 of approximate search; None: search is exact
        calibration: by kind of query, "shape" and "drawing"
    """

    name: str
    count: int
    classes: dict[str, int]
    folders: dict[str, int]
    dimensions: int
    takes_drawings: bool
    run: str
    built: str
    approximate: bool
    recall: float | None
    calibration: dict[str, Calibration]


@dataclass(frozen=True)
class Answer:
    """What an index says to a query.

    Args:
        hits: the nearest shapes, nearest first
        total: shapes that pass the filters
        query: as what the query was taken
        top_class: the class that its neighbours speak for; None where the index has no classes
        confidence: calibrated probability that this is right, in [0, 1]; None where the index is not calibrated
        ranking: classes with their probabilities, the most probable first
        nothing_like_it: the query is unlike all that the index holds
        seconds: spent on "prepare", "embed" and "search"
    """

    hits: tuple[Hit, ...]
    total: int
    query: Literal["shape", "drawing"]
    top_class: str | None
    confidence: float | None
    ranking: tuple[tuple[str, float], ...]
    nothing_like_it: bool
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for, embedded.

    Args:
        vector: (d,)
        what: as what it was taken
        prepare_seconds: that reading it took
        embed_seconds: that embedding it took
    """

    vector: NDArray[np.float32]  # (d,)
    what: Literal["shape", "drawing"]
    prepare_seconds: float = 0.0
    embed_seconds: float = 0.0


class Searcher:
    """An open index; many threads may ask it at once.

    Args:
        folder: of the index
        manifest: what it says of itself
        store: the shapes
        encoder: from samples to embeddings
        sandbox: makes the sandbox in which queries are read

    Example::

        with Searcher.open("parts.index") as searcher:
            answer = searcher.search_file("bracket.stl", k=5)
            print(answer.top_class, [hit.name for hit in answer.hits])
    """

    def __init__(
        self,
        folder: IndexFolder,
        manifest: Manifest,
        store: ShapeStore,
        encoder: Encoder,
        sandbox: Callable[[Inputs], Sandbox],
    ) -> None:
        self.folder, self.manifest, self.store, self.encoder = folder, manifest, store, encoder
        self._make_sandbox = sandbox
        self._sandbox: Sandbox | None = None
        self._lock = threading.Lock()
        self._embedding = threading.Lock()
        self._about: IndexAbout | None = None

    @classmethod
    def open(
        cls,
        index: str | Path,
        *,
        model: Path | None = None,
        store: str | None = None,
        device: Device = "auto",
        sandbox: Callable[[Inputs], Sandbox] = Sandbox,
    ) -> Self:
        """Open an index.

        Args:
            index: its folder
            model: a run, or an exported model, that embeds in place of the one that the index keeps
            store: address of the store, where it has moved
            device: "auto" takes a GPU if there is one
            sandbox: makes the sandbox in which queries are read, from what the network takes

        Raises:
            SearchError: there is no index, it is damaged, or the model is another one
        """
        folder = IndexFolder(Path(index))
        manifest = Manifest.read(folder.manifest)
        encoder = load_encoder(folder.model if model is None else model, device)
        if encoder.fingerprint != manifest.fingerprint:
            which = folder.model if model is None else model
            raise SearchError(
                f"{which} is not the network that {folder.root} was built with: its embeddings cannot be compared. "
                "Build the index again, or give the run or export that it was built with"
            )
        opened = ShapeStore.open(store or folder.store_uri(manifest), probing=manifest.probing)
        return cls(folder, manifest, opened, encoder, sandbox)

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
        self.store.close()

    @property
    def sandbox(self) -> Sandbox:
        """The processes in which queries are read, started when first needed."""
        with self._lock:
            if self._sandbox is None:
                self._sandbox = self._make_sandbox(self.encoder.inputs)
            return self._sandbox

    @property
    def about(self) -> IndexAbout:
        """What the index holds."""
        count = len(self.store)
        if self._about is None or self._about.count != count:
            approximate = self.manifest.approximate if self.store.has_approximate else None
            self._about = IndexAbout(
                name=self.folder.root.resolve().name,
                count=count,
                classes=self.store.classes(),
                folders=self.store.folders(),
                dimensions=self.manifest.dimensions,
                takes_drawings=self.encoder.inputs.drawing is not None,
                run=self.manifest.run,
                built=self.manifest.changed,
                approximate=self.store.has_approximate,
                recall=None if approximate is None else approximate.get("recall"),
                calibration=dict(self.manifest.calibrations),
            )
        return self._about

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
        """Look up what is nearest to a shape or a drawing.

        Args:
            data: content of a file: a mesh, a cloud of points, a picture
            name: how messages call it; nothing on disk is looked for by it
            kind: what to take it for; "auto" is what the content says. Pictures and sketches are the same: dark
                strokes on light paper, or light on dark
            up: the axis of the file that points up; "auto" is that of the files of the index, see `batchot index build
                --up`, and where these differ, what the format says
            k: how many results
            offset: how many of the nearest to pass over, for further pages
            filters: which shapes may be found

        Raises:
            QueryRefused: it cannot be taken; the message says why
            SearchError: the network has no tower for drawings, or the store fails
            ValueError: k or offset out of range
        """
        _check_page(k, offset)
        query = self.embed_bytes(data, name, kind=kind, up=up)
        return self.search_query(query, k=k, offset=offset, filters=filters)

    def embed_bytes(self, data: bytes, name: str = "", *, kind: QueryKind = "auto", up: Up = "auto") -> Query:
        """Embed a shape or a drawing, so that it can be looked up many times.

        Args:
            data: see `search_bytes`
            name: see `search_bytes`
            kind: see `search_bytes`
            up: see `search_bytes`

        Raises:
            QueryRefused: it cannot be taken; the message says why
        """
        start = time.perf_counter()
        axis = self.manifest.up if up == "auto" else up
        prepared = self.sandbox.prepare_bytes(data, name, _wanted(kind), up=axis)
        return self._embed(prepared, time.perf_counter() - start)

    def search_query(
        self, query: Query, *, k: int = 20, offset: int = 0, filters: Filters | None = None
    ) -> Answer:
        """Look up what is nearest to a query that was embedded.

        Args:
            query: of `embed_bytes`
            k: how many results
            offset: how many of the nearest to pass over
            filters: which shapes may be found
        """
        answer = self.search_vector(query.vector, query.what, k=k, offset=offset, filters=filters)
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
        """As `search_bytes`, from a file; a glTF file may name files beside it.

        The axis of a file in a folder of the index is that of the folder.

        Raises:
            OSError: the file cannot be read
        """
        _check_page(k, offset)
        path = Path(path)
        if path.suffix.lower() == ".gltf" and kind in ("auto", "shape"):
            start = time.perf_counter()
            query = self._embed(self._prepare_source(path, up), time.perf_counter() - start)
            return self.search_query(query, k=k, offset=offset, filters=filters)
        axis = self._axis(path, up)
        return self.search_bytes(
            path.read_bytes(), str(path), kind=kind, up=axis, k=k, offset=offset, filters=filters
        )

    def picture(self, path: str | Path, *, up: Up = "auto") -> bytes:
        """Give what a query looks like: a shape's thumbnail, or a drawing as the network sees it.

        Raises:
            QueryRefused: it cannot be taken
        """
        path = Path(path)
        prepared = (
            self._prepare_source(path, up, thumbnail=True)
            if path.suffix.lower() == ".gltf"
            else self.sandbox.prepare_bytes(
                path.read_bytes(), str(path), up=self._axis(path, up), thumbnail=True
            )
        )
        if prepared.what == "shape":
            return prepared.thumbnail
        file = io.BytesIO()
        Image.fromarray(prepared.sample[0]).save(file, "png")
        return file.getvalue()

    def similar(self, id: str, *, k: int = 20, offset: int = 0, filters: Filters | None = None) -> Answer:
        """Look up what is nearest to a shape of the index, itself left out.

        Raises:
            SearchError: there is no such shape
        """
        _check_page(k, offset)
        filters = filters or Filters()
        start = time.perf_counter()
        vector = self.store.vector(id)
        without = Filters(filters.classes, filters.folders, (*filters.exclude, id))
        hits = self.store.search(vector, offset + k, filters=without)[offset:]
        seconds = {"prepare": 0.0, "embed": 0.0, "search": time.perf_counter() - start}
        class_name = self.store.get(id).class_name or None
        return Answer(tuple(hits), self.store.count(without), "shape", class_name, None, (), False, seconds)

    def search_vector(
        self,
        vector: NDArray[np.float32],
        query: Literal["shape", "drawing"] = "shape",
        *,
        k: int = 20,
        offset: int = 0,
        filters: Filters | None = None,
    ) -> Answer:
        """Look up what is nearest to an embedding.

        Args:
            vector: (d,)
            query: what it is the embedding of, which decides the calibration
            k: how many results
            offset: how many of the nearest to pass over
            filters: which shapes may be found
        """
        _check_page(k, offset)
        filters = filters or Filters()
        start = time.perf_counter()
        hits = self.store.search(vector, offset + k, filters=filters)
        # the class is judged by all neighbours, whatever the filters leave
        all_hits = (
            hits
            if filters == Filters() and len(hits) >= NEIGHBOURS
            else self.store.search(vector, NEIGHBOURS)
        )
        neighbours = all_hits[:NEIGHBOURS]
        total = self.store.count(filters)
        seconds = {"prepare": 0.0, "embed": 0.0, "search": time.perf_counter() - start}
        calibration = self.manifest.calibrations.get(query)
        judgement = (
            None
            if calibration is None
            else calibration.judge(
                np.array([hit.distance for hit in neighbours]), [hit.class_name for hit in neighbours]
            )
        )
        if judgement is None:
            named = [hit.class_name for hit in neighbours if hit.class_name]
            top = named[0] if named else None
            return Answer(tuple(hits[offset:]), total, query, top, None, (), False, seconds)
        return Answer(
            tuple(hits[offset:]),
            total,
            query,
            judgement.ranking[0][0],
            judgement.confidence,
            judgement.ranking,
            judgement.nothing_like_it,
            seconds,
        )

    def shape(self, id: str) -> Hit:
        """Give what is known of a shape; its distance is 0.

        Raises:
            SearchError: there is no such shape
        """
        return self.store.get(id)

    def thumbnail(self, id: str) -> bytes:
        """Give its picture."""
        return self.store.thumbnail(id)

    def preview(self, id: str) -> bytes:
        """Give its mesh of few faces, or its points, as GLB."""
        return self.store.preview(id)

    def original(self, id: str) -> Path | None:
        """Give the file that a shape was read from, where it is a file of its own that still holds the same.

        Raises:
            SearchError: there is no such shape
        """
        from batchot.shapes.content_hash import hash_content
        from batchot.shapes.errors import ShapeError
        from batchot.shapes.source import ShapeSource

        hit = self.store.get(id)
        path = Path(hit.path)
        if hit.member is not None or not path.is_file():
            return None
        try:
            same = hash_content(ShapeSource(hit.name, path)).sha256 == self.store.content(id)
        except (OSError, ShapeError):
            return None
        return path if same else None

    def map_points(self) -> MapPoints:
        """Give the map of the embedding, without shapes that have been removed since it was laid out."""
        points = read_map(self.folder.map)
        there = self.store.contents()
        kept = [k for k, id in enumerate(points.ids) if id in there]
        return MapPoints(
            tuple(points.ids[k] for k in kept),
            points.xy[kept],
            tuple(points.classes[k] for k in kept),
            tuple(points.names[k] for k in kept),
        )

    def _axis(self, path: Path, up: Up) -> Up:
        return self.manifest.up_of(path) if up == "auto" else up

    def _prepare_source(self, path: Path, up: Up, *, thumbnail: bool = False) -> Prepared:
        from batchot.shapes.source import ShapeSource

        # glTF names files beside it, which the sandbox for strangers does not open
        with Sandbox(self.encoder.inputs, processes=1, files=True) as sandbox:
            source = ShapeSource(path.name, path, up=self._axis(path, up))
            for _, prepared in sandbox.prepare_sources([source], thumbnail=thumbnail, preview=False):
                if isinstance(prepared, SearchError):
                    raise prepared
                return prepared
        raise SearchError(f"{path} could not be read")

    def _embed(self, prepared: Prepared, took: float) -> Query:
        start = time.perf_counter()
        with self._embedding:  # one at a time: the network's own threads share the cores
            embed = self.encoder.drawings if prepared.what == "drawing" else self.encoder.shapes
            vector = embed(prepared.sample[None])[0]
        return Query(vector, prepared.what, took, time.perf_counter() - start)


def _wanted(kind: QueryKind) -> Literal["any", "shape", "drawing"]:
    if kind not in ("auto", "shape", "picture", "sketch"):
        raise ValueError(f"kind must be auto, shape, picture or sketch, got {kind!r}")
    return "any" if kind == "auto" else "shape" if kind == "shape" else "drawing"


def _check_page(k: int, offset: int) -> None:
    if not 1 <= k <= MOST_RESULTS or not 0 <= offset <= MOST_RESULTS:
        raise ValueError(
            f"k must lie in 1 .. {MOST_RESULTS} and offset in 0 .. {MOST_RESULTS}, got {k} and {offset}"
        )
