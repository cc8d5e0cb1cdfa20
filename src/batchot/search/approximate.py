"""Approximate search: built where there are many shapes, and its recall measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

EXACT_BELOW = 50_000
"""With fewer shapes search is exact: comparing with all takes a few milliseconds (benchmarks/search_speed.py)."""
RECALL = 0.97
"""Recall@10 that is asked for of stored vectors, which are found a little better than fresh ones: of these, 0.95."""
_K = 10
_QUERIES = 200
_STEPS = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Probing:
    """How an approximate index is searched."""

    probes: int = 32  # cells that are looked into


@dataclass(frozen=True)
class ApproximateReport:
    """What was built, and how well it finds."""

    kind: str  # of the index
    recall: float  # share of the ten nearest that are found, over 200 stored shapes as queries, themselves left out
    probes: int  # see `Probing`
    shapes: int  # how many there were
    queries: int  # by how many the recall was measured
    seconds: float  # that building took


def build_index(table: Any, n: int) -> float:
    """Build the index of a table: cells of whole vectors (IVF_FLAT).

    Vectors that are quantised (IVF_PQ) must be compared again with the stored ones, whose reading takes longer than
    scanning whole ones: benchmarks/search_speed.py.

    Args:
        table: of LanceDB
        n: its rows

    Returns:
        Seconds that it took.
    """
    from lancedb.index import BTree, IvfFlat

    start = time.perf_counter()
    partitions = int(min(max(np.sqrt(n), 1), n // 20 or 1))
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
        store.probing = Probing(probes)
        hits = found(False)
        recall = float(np.mean([len(a & b) / max(len(b), 1) for a, b in zip(hits, truth, strict=True)]))
        if recall >= RECALL:
            break
    return ApproximateReport("IVF_FLAT", recall, probes, n, len(queries), seconds)
