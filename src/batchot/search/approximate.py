"""Approximate search: built where there are many shapes, and its recall measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from batchot.search.store import ShapeStore

EXACT_BELOW = 50_000
"""With fewer shapes search is exact: comparing with all takes a few milliseconds (benchmarks/search_speed.py)."""
RECALL = 0.97
"""Recall@10 that is asked for of stored vectors, which are found a little better than fresh ones: of these, 0.95."""
_K = 10
_QUERIES = 200
# probes and refine, the cheapest first
_STEPS = ((16, 3), (16, 5), (24, 5), (24, 8), (32, 8), (48, 10), (64, 16), (128, 32), (256, 64), (512, 64))


@dataclass(frozen=True)
class Probing:
    """How an approximate index is searched.

    Args:
        probes: cells that are looked into
        refine: times the wanted number of shapes that are compared with exactly
    """

    probes: int = 32
    refine: int = 8


@dataclass(frozen=True)
class ApproximateReport:
    """What was built, and how well it finds.

    Args:
        kind: of the index
        recall: share of the ten nearest that are found, over 200 stored shapes as queries, themselves left out
        probes: see `Probing`
        refine: see `Probing`
        shapes: how many there were
        queries: by how many the recall was measured
        seconds: that building took
    """

    kind: str
    recall: float
    probes: int
    refine: int
    shapes: int
    queries: int
    seconds: float


def build_index(table: Any, n: int, dimensions: int) -> float:
    """Build the index of a table.

    Args:
        table: of LanceDB
        n: its rows
        dimensions: of the embeddings

    Returns:
        Seconds that it took.
    """
    from lancedb.index import BTree, IvfPq, IvfSq

    start = time.perf_counter()
    partitions = int(min(max(np.sqrt(n), 1), n // 20 or 1))
    parts = sub_vectors(dimensions)
    if parts is None:
        config: Any = IvfSq(distance_type="l2", num_partitions=partitions)
    else:
        config = IvfPq(
            distance_type="l2", num_partitions=partitions, num_sub_vectors=parts, max_iterations=20
        )
    table.create_index("vector", config=config, replace=True)
    table.create_index("id", config=BTree(), replace=True)  # previews and thumbnails are looked up by it
    return time.perf_counter() - start


def sub_vectors(dimensions: int) -> int | None:
    """Give into how many parts embeddings are cut for product quantisation: of four numbers each, or a few more.

    >>> sub_vectors(128), sub_vectors(100), sub_vectors(101)
    (32, 25, None)
    """
    for width in (4, 5, 6, 8, 7, 3, 2):
        if dimensions % width == 0 and dimensions > width:
            return dimensions // width
    return None


def choose_probing(store: ShapeStore, seconds: float) -> ApproximateReport:
    """Find how little has to be looked at for the recall that is asked for.

    Args:
        store: with an approximate index
        seconds: that building took

    Returns:
        The report, of the first setting that reaches the recall, or of the last.
    """
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
    for probes, refine in _STEPS:
        store.probing = Probing(probes, refine)
        hits = found(False)
        recall = float(np.mean([len(a & b) / max(len(b), 1) for a, b in zip(hits, truth, strict=True)]))
        if recall >= RECALL:
            break
    kind = "IVF_SQ" if sub_vectors(store.dimensions) is None else "IVF_PQ"
    return ApproximateReport(kind, recall, probes, refine, n, len(queries), seconds)
