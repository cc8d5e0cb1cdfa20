"""The shapes of an index in a LanceDB database."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from batchot.errors import require
from batchot.search.records import (
    Filters,
    Hit,
    NotThere,
    SearchError,
    ShapeRecord,
    Unavailable,
    ids,
    plain,
    quoted,
    words_of,
)

if TYPE_CHECKING:
    from batchot.search.schema import pa

__all__ = ["EXACT_BELOW", "ShapeStore"]

_FRESH = timedelta(seconds=1)  # how long after another process has added shapes they may be missed
_KEPT = timedelta(minutes=10)  # that old versions stay, for those who are reading them
_PAGE = 20_000
_TRIES = 20
_PROBES = 32


class ShapeStore:
    """Shapes with their embeddings: on this disk, in an object store, or in LanceDB Cloud."""

    def __init__(self, uri: str, table: Any, probes: int = _PROBES) -> None:
        self.uri, self._table = uri, table
        self.probes = probes  # cells of an approximate index that are looked into
        self.dimensions = int(table.schema.field("vector").type.list_size)
        photo = "photo" in table.schema.names
        self.photo_dimensions = int(table.schema.field("photo").type.list_size) if photo else 0

    @classmethod
    def create(cls, uri: str, dimensions: int, *, photo_dimensions: int = 0) -> Self:
        """Make an empty store, or open the one that is there."""
        from batchot.search.schema import TABLE, table_schema

        with _named(uri):
            database = _connect(uri)
            if TABLE in database.list_tables().tables:
                table = database.open_table(TABLE)
            else:
                table = database.create_table(TABLE, schema=table_schema(dimensions, photo_dimensions))
        store = cls(uri, table)
        if store.dimensions != dimensions:
            raise SearchError(f"{uri} holds embeddings of {store.dimensions} dimensions, not {dimensions}")
        return store

    @classmethod
    def open(cls, uri: str, *, probes: int = _PROBES) -> Self:
        """Open a store; see `create`."""
        from batchot.search.schema import TABLE

        if "://" not in uri and not os.path.isdir(uri):
            raise Unavailable(f"{uri} is no folder: the shapes of the index are missing; build it again")
        with _named(uri):
            return cls(uri, _connect(uri).open_table(TABLE), probes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; what was added is stored already."""
        self._table = None

    def add(self, records: Sequence[ShapeRecord]) -> None:
        """Store shapes; one whose id is there already is replaced."""
        from batchot.search.schema import rows_of

        if not records:
            return
        new = [record.id for record in records]
        if len(set(new)) < len(new):
            raise SearchError(f"{len(new) - len(set(new))} ids are there twice in what is to be stored")
        rows = rows_of(records, self._table.schema)

        def store() -> None:
            # Appending costs the same however large the store is; merging reads all ids.
            if self._count(f"id IN ({ids(new)})"):
                merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(rows)
            else:
                self._table.add(rows)

        self._commit(store)

    @property
    def keeps_sizes(self) -> bool:
        """The sizes of shapes can be looked for; not in a table of an older version."""
        return "longest" in self._table.schema.names

    def add_size_columns(self) -> None:
        """Give a table of an older version the columns that sizes are kept in, empty at first."""
        from batchot.search.schema import SIZES, pa

        if not self.keeps_sizes:
            self._commit(lambda: self._table.add_columns(pa.schema(list(SIZES.items()))))

    def unmeasured(self) -> set[str]:
        """Give the ids of the shapes whose sizes are not known."""
        return (
            set(self._columns("id", where="longest IS NULL")["id"].to_pylist()) if self.keeps_sizes else set()
        )

    def set_sizes(self, measures: Mapping[str, Any]) -> None:
        """Store the sizes of shapes that are there."""
        from batchot.search.schema import measured_rows

        wanted = list(measures)
        for start in range(0, len(wanted), 256):
            some = wanted[start : start + 256]
            rows = self._columns(*self._table.schema.names, where=f"id IN ({ids(some)})")
            new = measured_rows(rows, measures)
            self._commit(
                lambda new=new: self._table.merge_insert("id").when_matched_update_all().execute(new)
            )

    def remove(self, unwanted: Sequence[str]) -> None:
        """Take shapes out; ids that are not there are passed over."""
        for start in range(0, len(unwanted), _PAGE):
            condition = f"id IN ({ids(list(unwanted[start : start + _PAGE]))})"
            self._commit(lambda condition=condition: self._table.delete(condition))

    def check(self) -> None:
        """Read a row: how many there are is known without looking."""
        with _named(self.uri):
            self._table.search().select(["id"]).limit(1).to_arrow()

    def __len__(self) -> int:
        return self._count(None)

    def count(self, filters: Filters) -> int:
        """Give how many shapes pass."""
        return self._count(filters.where())

    def classes(self, filters: Filters | None = None) -> dict[str, int]:
        """Give the number of shapes of each class, by name; "" is none."""
        return self._counted("class_name", filters)

    def folders(self, filters: Filters | None = None) -> dict[str, int]:
        """Give the number of shapes right in each folder, by name."""
        return self._counted("folder", filters)

    def contents(self) -> dict[str, str]:
        """Give the SHA-256 of what each shape was read from, by id."""
        return self._by_id("content")

    def names(self, filters: Filters | None = None) -> dict[str, str]:
        """Give the name of each shape, by id."""
        return self._by_id("name", filters)

    def paths(self) -> dict[str, str]:
        """Give the file of each shape, by id."""
        return self._by_id("path")

    def ids(self, filters: Filters) -> list[str]:
        """Give the ids of the shapes that pass, in order."""
        return sorted(self._columns("id", where=filters.where())["id"].to_pylist())

    def ids_at(self, places: NDArray[np.int64]) -> list[str]:
        """Give the ids of the shapes at some places in the order in which they are stored."""
        stored = self._columns("id")["id"]
        return [stored[int(k)].as_py() for k in places]

    def get(self, id: str) -> Hit:
        """Give what is known of a shape."""
        from batchot.search.schema import HIT_COLUMNS, hit_of

        return hit_of(self._row(id, *HIT_COLUMNS))

    def get_many(self, wanted: Sequence[str]) -> list[Hit]:
        """Give what is known of shapes, in the order of their ids; one that has been removed is left out."""
        found = {hit.id: hit for hit in self._hits(f"id IN ({ids(list(wanted))})")} if wanted else {}
        return [found[id] for id in wanted if id in found]

    def thumbnail(self, id: str) -> bytes:
        """Give the picture of a shape."""
        return bytes(self._row(id, "thumbnail")["thumbnail"])

    def preview(self, id: str) -> bytes:
        """Give the GLB file of a shape."""
        return bytes(self._row(id, "preview")["preview"])

    def content(self, id: str) -> str:
        """Give the SHA-256 of what a shape was read from."""
        return str(self._row(id, "content")["content"])

    def of_content(self, content: str) -> list[Hit]:
        """Give the shapes that were read from what has this SHA-256, by name."""
        return sorted(self._hits(f"content = {quoted(content)}"), key=lambda hit: hit.name)

    def vector(self, id: str) -> NDArray[np.float32]:
        """Give the embedding of a shape, (d,)."""
        return np.array(self._row(id, "vector")["vector"], np.float32)

    def vectors(self) -> tuple[list[str], list[str], NDArray[np.float32]]:
        """Give ids, classes and embeddings (n, d) of all shapes."""
        columns = self._columns("id", "class_name", "vector")
        return (
            columns["id"].to_pylist(),
            columns["class_name"].to_pylist(),
            _matrix(columns["vector"], self.dimensions),
        )

    def search(
        self,
        vector: NDArray[np.float32],
        k: int,
        *,
        filters: Filters | None = None,
        exact: bool = False,
        photo: bool = False,
    ) -> list[Hit]:
        """Find the shapes with the nearest embeddings, or the nearest to a photo."""
        from batchot.search.schema import HIT_COLUMNS, hit_of

        d = self.photo_dimensions if photo else self.dimensions
        if vector.shape != (d,) or not np.isfinite(vector).all():
            raise SearchError(f"an embedding must be {d} finite numbers, got shape {vector.shape}")
        with _named(self.uri):
            column = "photo" if photo else "vector"
            query = self._table.search(np.ascontiguousarray(vector, np.float32), vector_column_name=column)
            query = query.distance_type("l2").select([*HIT_COLUMNS, "_distance"]).limit(k)
            if (where := (filters or Filters()).where()) is not None:
                query = query.where(where, prefilter=True)
            query = query.bypass_vector_index() if exact or photo else query.nprobes(self.probes)
            rows = query.to_arrow().to_pylist()
        return sorted((hit_of(row) for row in rows), key=lambda hit: (hit.distance, hit.id))

    @property
    def has_approximate(self) -> bool:
        """There is an approximate index."""
        with _named(self.uri):
            return any("vector" in index.columns for index in self._table.list_indices())

    def build_approximate(self) -> ApproximateReport:
        """Make search approximate and fast, and measure what it finds."""
        with _named(self.uri):
            seconds = build_index(self._table, len(self))
        report = choose_probing(self, seconds)
        self.probes = report.probes
        return report

    def optimize(self) -> None:
        """Put the pieces of many additions together, add new shapes to the approximate index, forget old versions."""
        with _named(self.uri):
            self._table.optimize(cleanup_older_than=_KEPT)

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """Give columns of all shapes, some thousand rows at a time."""
        with _named(self.uri):
            query = self._table.search().select(list(columns)).limit(max(len(self), 1))
            yield from query.to_batches(1024)

    def _commit(self, work: Any) -> None:
        """Change the table; where another process was faster, once more on what it has left."""
        for attempt in range(_TRIES):
            try:
                with _named(self.uri):
                    return work()
            except SearchError as error:
                if attempt == _TRIES - 1 or "conflict" not in str(error).lower():
                    raise
                self._table.checkout_latest()

    def _count(self, where: str | None) -> int:
        with _named(self.uri):
            return int(self._table.count_rows(where))

    def _counted(self, column: str, filters: Filters | None) -> dict[str, int]:
        counts = (
            self._columns(column, where=(filters or Filters()).where())[column].value_counts().to_pylist()
        )
        return dict(sorted((item["values"], item["counts"]) for item in counts))

    def _by_id(self, column: str, filters: Filters | None = None) -> dict[str, str]:
        columns = self._columns("id", column, where=(filters or Filters()).where())
        return dict(zip(columns["id"].to_pylist(), columns[column].to_pylist(), strict=True))

    def _hits(self, where: str) -> list[Hit]:
        from batchot.search.schema import HIT_COLUMNS, hit_of

        return [hit_of(row) for row in self._columns(*HIT_COLUMNS, where=where).to_pylist()]

    def _columns(self, *names: str, where: str | None = None) -> pa.Table:
        with _named(self.uri):
            query = self._table.search().select(list(names)).limit(max(self._count(where), 1))
            return (query if where is None else query.where(where)).to_arrow()

    def _row(self, id: str, *columns: str) -> dict[str, Any]:
        condition = f"id = {ids([id])}"  # which refuses what is no id
        with _named(self.uri):
            rows = self._table.search().where(condition).select(list(columns)).limit(1).to_list()
        if not rows:
            raise NotThere(f"there is no shape {id}; it may have been removed")
        return dict(rows[0])


def _matrix(column: Any, d: int) -> NDArray[np.float32]:
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(-1, d) if flat else np.zeros((0, d), np.float32)


def _connect(uri: str) -> Any:
    lancedb = require("lancedb", "search")
    if uri.startswith("db://"):
        cloud = {
            "api_key": os.environ.get("LANCEDB_API_KEY"),
            "region": os.environ.get("LANCEDB_REGION", "us-east-1"),
            "host_override": os.environ.get("LANCEDB_HOST"),
        }
        if not cloud["api_key"]:
            raise SearchError(f"{uri} needs the key of your account in the environment as LANCEDB_API_KEY")
        return lancedb.connect(uri, **cloud)
    return lancedb.connect(uri, read_consistency_interval=_FRESH)


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Turn what LanceDB and Arrow raise into a sentence that names the store."""
    try:
        yield
    except (SearchError, ImportError):
        raise
    except (RuntimeError, ValueError, OSError, KeyError, AttributeError) as error:
        text = plain((str(error).strip().splitlines() or [""])[0])[:500] or type(error).__name__
        hint = "" if "://" in uri else "; batchot index verify says more, batchot index build makes it anew"
        raise Unavailable(f"{uri}: {text}{hint}") from error


EXACT_BELOW = 50_000
"""With fewer shapes search is exact: comparing with all takes a few milliseconds (benchmarks/search_speed.py)."""
RECALL = 0.97
"""Recall@10 that is asked for of stored vectors, which are found a little better than fresh ones: of these, 0.95."""
_K = 10
_QUERIES = 200
_STEPS = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class ApproximateReport:
    """What was built, and how well it finds."""

    kind: str  # of the index
    recall: float  # share of the ten nearest that are found, over 200 stored shapes as queries, themselves left out
    probes: int  # cells that are looked into
    shapes: int  # how many there were
    queries: int  # by how many the recall was measured
    seconds: float  # that building took


def build_index(table: Any, n: int) -> float:
    """Build the index of a table of n rows, cells of whole vectors (IVF_FLAT), and give the seconds that it took."""
    from lancedb.index import BTree, IvfFlat

    start = time.perf_counter()
    partitions = int(min(max(np.sqrt(n), 1), n // 20 or 1))
    # Vectors that are quantised (IVF_PQ) must be compared again with the stored ones, whose reading takes longer than
    # scanning whole ones: benchmarks/search_speed.py.
    config = IvfFlat(distance_type="l2", num_partitions=partitions, max_iterations=20)
    table.create_index("vector", config=config, replace=True)
    table.create_index("id", config=BTree(), replace=True)  # previews and thumbnails are looked up by it
    return time.perf_counter() - start


def choose_probing(store: Any, seconds: float) -> ApproximateReport:
    """Find how little has to be looked at for the recall that is asked for."""
    n = len(store)
    rng = np.random.default_rng(0)
    names = store.ids_at(np.sort(rng.choice(n, min(_QUERIES, n), replace=False)))
    queries = [(name, store.vector(name)) for name in names]

    def found(exact: bool) -> list[set[str]]:
        results = []
        for name, vector in queries:
            hits = [hit.id for hit in store.search(vector, _K + 1, exact=exact) if hit.id != name]
            results.append(set(hits[:_K]))
        return results

    truth = found(True)
    recall = 0.0
    for probes in _STEPS:
        store.probes = probes
        hits = found(False)
        recall = float(np.mean([len(a & b) / max(len(b), 1) for a, b in zip(hits, truth, strict=True)]))
        if recall >= RECALL:
            break
    return ApproximateReport("IVF_FLAT", recall, probes, n, len(queries), seconds)


def by_relevance(names: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """Order shapes whose names hold words: first by how many are whole words of them, then by how few others are."""
    wanted = set(words)

    def key(id: str) -> tuple[int, int, list[tuple[int, str]]]:
        name = names[id].lower()
        parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
        there = set(words_of(name))
        return -len(wanted & there), len(there - wanted) if wanted else 0, parts

    return sorted(names, key=key)


def no_such_name(words: Sequence[str], store: ShapeStore) -> str:
    """Say which word no name holds, and which one may be meant; "" where each is held by some."""
    for word in words:
        if store.count(Filters(text=word)):
            continue
        there = {other for name in (*store.names().values(), *store.classes()) for other in words_of(name)}
        closest = get_close_matches(word, sorted(there), 1)
        return f"no name and no class holds {word!r}" + (f"; did you mean {closest[0]!r}?" if closest else "")
    return ""
