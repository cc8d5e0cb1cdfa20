"""How fast an index of many embeddings answers, against FAISS on the same vectors in the same run.

    python benchmarks/search_speed.py --n 1000000 --folder SCRATCH

Vectors are unit vectors around class centres, as embeddings are; queries are fresh ones of the same kind. Needs the
extras `search` and, for the comparison, faiss-cpu.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import resource
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from batchot.search.records import ShapeRecord, record_id
from batchot.search.store import ShapeStore

K, BLOCK = 10, 20_000
THUMBNAIL, PREVIEW = b"\x00" * 64, b"\x00" * 256  # the pictures are not read by a search


def vectors(n: int, d: int, centres: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """n unit vectors around random ones of the centres, noise / sqrt(d) in each coordinate."""
    rng = np.random.default_rng(seed)
    x = centres[rng.integers(0, len(centres), n)] + rng.normal(size=(n, d)).astype(
        np.float32
    ) * noise / np.sqrt(d)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def fill(store: ShapeStore, x: np.ndarray) -> float:
    """Store the vectors as shapes; gives the seconds."""
    start = time.perf_counter()
    for first in range(0, len(x), BLOCK):
        records = []
        for k in range(first, min(first + BLOCK, len(x))):
            name = f"c{k % 1000}/{k}.off"
            records.append(
                ShapeRecord(
                    id=record_id(name), name=name, folder=f"c{k % 1000}", class_name=f"c{k % 1000}",
                    path=f"/shapes/{name}", member=None, content="0" * 64, kind="mesh", faces=100, vertices=50,
                    size=(1.0, 1.0, 1.0), vector=x[k], thumbnail=THUMBNAIL, preview=PREVIEW,
                )
            )  # fmt: skip
        store.add(records)
    return time.perf_counter() - start


def measure(
    search: Callable[[np.ndarray], list], queries: np.ndarray, truth: list[set]
) -> tuple[float, float, float]:
    """Median and 95th percentile of a query, milliseconds, and recall@10; queries come one at a time."""
    for query in queries[:20]:
        search(query)
    times, hits = [], 0
    for query, right in zip(queries, truth, strict=True):
        start = time.perf_counter()
        found = search(query)
        times.append(1000 * (time.perf_counter() - start))
        hits += len(set(found) & right)
    return float(np.median(times)), float(np.percentile(times, 95)), hits / (K * len(queries))


def row(name: str, figures: tuple[float, float, float], built: float, note: str) -> None:
    print(
        f"| {name} | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.4f} | {built:.0f} | {note} |",
        flush=True,
    )


def cheapest(
    index: Any, holder: Any, name: str, values: tuple[int, ...], queries: np.ndarray, truth: list[set]
) -> tuple[int, tuple[float, float, float]]:
    """The first value of a setting of FAISS that reaches a recall of 0.95, or the last, and its figures."""
    for value in values:
        setattr(holder, name, value)
        figures = measure(lambda q: index.search(q[None], K)[1][0].tolist(), queries, truth)
        if figures[2] >= 0.95:
            break
    return value, figures


def faiss_rows(x: np.ndarray, queries: np.ndarray, truth: list[set], threads: int) -> None:
    """FAISS at settings that reach the same recall."""
    import faiss

    faiss.omp_set_num_threads(threads)
    d = x.shape[1]
    start = time.perf_counter()
    cells = int(np.sqrt(len(x)))
    quantizer = faiss.IndexFlatL2(d)
    pq = faiss.IndexIVFPQ(quantizer, d, cells, d // 4, 8)
    pq.train(x[: 100 * cells])
    pq.add(x)
    refined = faiss.IndexRefineFlat(pq, faiss.swig_ptr(x))
    refined.k_factor = 8
    built = time.perf_counter() - start
    probes, figures = cheapest(refined, pq, "nprobe", (8, 16, 32, 64), queries, truth)
    row(f"FAISS IVF{cells},PQ{d // 4} + refine, nprobe {probes}", figures, built, "vectors alone, in memory")
    del pq
    start = time.perf_counter()
    flat = faiss.IndexIVFFlat(quantizer, d, cells)
    flat.train(x[: 100 * cells])
    flat.add(x)
    built = time.perf_counter() - start
    probes, figures = cheapest(flat, flat, "nprobe", (8, 16, 32, 64), queries, truth)
    row(f"FAISS IVF{cells},Flat, nprobe {probes}", figures, built, "vectors alone, in memory")
    start = time.perf_counter()
    graph = faiss.IndexHNSWFlat(d, 32)
    graph.hnsw.efConstruction = 80
    graph.add(x)
    built = time.perf_counter() - start
    ef, figures = cheapest(graph, graph.hnsw, "efSearch", (32, 64, 128, 256), queries, truth)
    row(f"FAISS HNSW32, efSearch {ef}", figures, built, "vectors alone, in memory")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--d", type=int, default=128)
    parser.add_argument("--centres", type=int, default=1000)
    parser.add_argument("--noise", type=float, default=0.8, help="length of the noise around a centre")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--folder", type=Path, required=True, help="for the store; deleted afterwards")
    parser.add_argument("--no-faiss", action="store_true")
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {threads} cores; n {options.n:,}, d {options.d}, "
          f"{options.centres:,} centres, noise {options.noise}, {options.queries} queries, seed 0")  # fmt: skip
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(options.centres, options.d)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    x = vectors(options.n, options.d, centres, options.noise, 1)
    queries = vectors(options.queries, options.d, centres, options.noise, 2)
    nearest = [np.argpartition(((x - q) ** 2).sum(1), K)[:K] for q in queries]
    truth = [set(found.tolist()) for found in nearest]
    names = [{record_id(f"c{k % 1000}/{k}.off") for k in found} for found in truth]

    shutil.rmtree(options.folder, ignore_errors=True)
    store = ShapeStore.create(str(options.folder), options.d)
    stored = fill(store, x)
    print(f"stored in {stored:.0f} s")
    print("| search | median ms | p95 ms | recall@10 | built in s | |\n|---|---|---|---|---|---|")
    exact = measure(lambda q: [hit.id for hit in store.search(q, K, exact=True)], queries[:30], names[:30])
    row("batchot, exact", exact, 0, "")
    report = store.build_approximate()
    figures = measure(lambda q: [hit.id for hit in store.search(q, K)], queries, names)
    name = f"batchot, approximate ({report.kind}, {report.probes} probes)"
    row(name, figures, report.seconds, f"measured when built: {report.recall:.4f}")
    print(f"\n{dataclasses.asdict(report)}")
    size = sum(f.stat().st_size for f in options.folder.rglob("*") if f.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"on disk {size / 1e9:.2f} GB; memory at the peak {peak:.2f} GB\n")
    store.close()
    if not options.no_faiss:
        faiss_rows(x, queries, truth, threads)
    shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
