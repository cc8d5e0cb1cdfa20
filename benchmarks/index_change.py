"""What putting one shape into an index costs after it was read and embedded, by the size of the index.

    python benchmarks/index_change.py --n 331 10331

Prints seconds, and seconds of processor time, of the first map, of one more shape, and of the layout that comes in the
background after a tenth has changed. The vectors are unit vectors around class centres.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from batchot.search.build import Progress, _finish, lay_out_index
from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.records import ShapeRecord, record_id
from batchot.search.store import ShapeStore

D, CLASSES = 128, 40


@contextmanager
def told(what: str, n: int) -> Iterator[None]:
    start, used = time.perf_counter(), time.process_time()
    yield
    print(
        f"| {n:,} | {what} | {time.perf_counter() - start:.1f} | {time.process_time() - used:.1f} |",
        flush=True,
    )


def records(x: np.ndarray, classes: np.ndarray, first: int) -> list[ShapeRecord]:
    """Shapes with small pictures, which are not read."""
    made = []
    for k, (vector, c) in enumerate(zip(x, classes, strict=True), first):
        name = f"c{c:02d}/{k}.off"
        made.append(
            ShapeRecord(
                id=record_id(name),
                name=name,
                folder=f"c{c:02d}",
                class_name=f"c{c:02d}",
                path=f"/{name}",
                member=None,
                content=f"{k:064x}",
                kind="mesh",
                faces=1,
                vertices=3,
                size=(1.0, 1.0, 1.0),
                vector=vector,
                thumbnail=bytes(64),
                preview=bytes(256),
            )
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[331, 10_331])
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {cores} cores, seed 0")
    print("| shapes | what | s | s of processor |\n|---|---|---|---|")
    for n in options.n:
        rng = np.random.default_rng(0)
        classes = rng.integers(0, CLASSES, n + 1)
        x = rng.normal(size=(CLASSES, D))[classes] + 0.8 * rng.normal(size=(n + 1, D))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            index = IndexFolder(Path(folder))
            manifest = Manifest("0" * 64, "run", D, True, {}).write(index.manifest)
            with ShapeStore.create(str(index.shapes), D) as store:
                store.add(records(x[:n], classes[:n], 0))
                with told("first build: map and calibration", n):
                    manifest = _finish(index, manifest, store, Progress())
                with told("one more shape", n):
                    store.add(records(x[n:], classes[n:], n))
                    _finish(index, manifest, store, Progress())
            with told("map laid out anew (in the background)", n):
                lay_out_index(index.root)


if __name__ == "__main__":
    main()
