"""What a rebuilding must not change: numbers and bytes made by this code, kept in golden.json.

python tests/golden/rails.py write FILE     before the change
python tests/golden/rails.py check FILE     after it, on the same machine: to the bit
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
TIMES = {
    "seconds",
    "seconds_per_epoch",
    "loss_share",
    "machine",
    "started",
    "finished",
    "commit",
    "data_root",
}
CLASSES = ("bottle", "stairs", "airplane", "vase", "chair")


def digest(values: Any) -> list[Any]:
    """SHA-256 of the bytes, and the sum of magnitudes for machines with other instructions."""
    array = np.ascontiguousarray(values.detach().numpy() if isinstance(values, torch.Tensor) else values)
    return [hashlib.sha256(array.tobytes()).hexdigest()[:16], float(np.abs(array.astype(np.float64)).sum())]


def losses() -> Iterator[tuple[str, list[Any]]]:
    """Loss and gradient for settings x sizes."""
    from batchot import BatchOTLoss, CrossModalBatchOTLoss, batch_ot_loss

    settings: list[dict[str, Any]] = [
        {},
        {"plan": "uniform"},
        {"lam": 1.0},
        {"lam": 20.0},
        {"gamma": 1.0, "margin": 0.5},
        {"normalize": False, "margin": 10.0},
        {"grad": "implicit"},
        {"grad": "implicit", "lam": 1.0},
    ]
    for (n, d, dtype), (k, options) in itertools.product(
        ((6, 3, torch.float64), (32, 16, torch.float32), (126, 64, torch.float32), (300, 32, torch.float32)),
        enumerate(settings),
    ):
        g = torch.Generator().manual_seed(n)
        x = torch.randn(n, d, generator=g, dtype=dtype).requires_grad_()
        labels = torch.randint(0, max(2, n // 6), (n,), generator=g)
        loss = batch_ot_loss(x, labels, **options)
        loss.backward()
        yield f"batch_ot {n} {k}", [*digest(loss), *digest(x.grad)]
        y = torch.randn(n + 5, d, generator=g, dtype=dtype).requires_grad_()
        other = torch.randint(0, max(2, n // 6), (n + 5,), generator=g)
        x.grad = None
        loss = CrossModalBatchOTLoss(**options)(x, labels, y, other)
        loss.backward()
        yield f"cross_modal {n} {k}", [*digest(loss), *digest(x.grad), *digest(y.grad)]
    x = torch.randn(24, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(24) % 4
    same = labels[:, None] == labels
    pairs = (*torch.where(same & (torch.arange(24) != torch.arange(24)[:, None])), *torch.where(~same))
    BatchOTLoss()(x, labels, pairs).backward()
    yield "pairs", digest(x.grad)


def scores() -> Iterator[tuple[str, list[Any]]]:
    from batchot import retrieval_scores, sinkhorn

    g = torch.Generator().manual_seed(3)
    x, labels = torch.randn(200, 16, generator=g), torch.randint(0, 12, (200,), generator=g)
    found = retrieval_scores(x, labels)
    yield "retrieval", digest(np.array([found.nn, found.ft, found.st, found.e, found.dcg, found.map]))
    yield (
        "sinkhorn",
        digest(sinkhorn(torch.rand(40, 30, generator=g, dtype=torch.float64), lam=30.0).coupling),
    )


def views(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """Bytes of the views and names of the entries of their cache."""
    from batchot.cli import main

    write_shapes(folder / "shapes", 4)
    assert not main(["render", str(folder / "shapes"), "--size=64", "--processes=1"])
    for file in sorted((folder / "cache").rglob("*.npy")):
        yield str(file.relative_to(folder)), [hashlib.sha256(file.read_bytes()).hexdigest()[:16]]


def runs(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """metrics.json of three small runs with two seeds."""
    from batchot.cli import main
    from search_support import TINY_RUN, draw_sketch
    from shape_folders import SMALL_RUN

    write_shapes(folder / "both" / "shapes", 10)
    for name, k in itertools.product(CLASSES[:2], range(6)):
        draw_sketch(folder / f"both/sketches/{name}/{'train' if k < 4 else 'test'}/{k}.png", name, 100 + k)
    small = {
        "digits": ["epochs=2", "data.limit=300", "batch.size=50", "model.widths=[16,8]"],
        "shape-folder-scratch": [f"--data-root={folder / 'both/shapes'}", *SMALL_RUN],
        "sketch-folder-scratch": [f"--data-root={folder / 'both'}", *TINY_RUN],
    }
    for (recipe, overrides), seed in itertools.product(small.items(), (0, 1)):
        out = folder / f"{recipe} {seed}"
        assert not main(
            ["train", recipe, f"--out={out}", "--device=cpu", f"--seed={seed}", "precision=32", *overrides]
        )
        metrics = json.loads((out / "metrics.json").read_text())
        kept = {k: v for k, v in sorted(metrics.items()) if k not in TIMES and isinstance(v, float | int)}
        yield f"{recipe} {seed}", [json.dumps(kept), metrics["map"]]


def old(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """Embeddings of a run, an export and an index that were made by the first format."""
    from batchot import load_run
    from batchot.cli import main
    from batchot.export import load_exported

    for name in ("run", "export", "index"):
        with zipfile.ZipFile(HERE / f"{name}.zip") as packed:
            packed.extractall(folder)
    g = torch.Generator().manual_seed(1)
    pixels = {
        "sketch": torch.randint(0, 256, (4, 1, 32, 32), generator=g, dtype=torch.uint8),
        "shape": torch.randint(0, 256, (4, 6, 2, 32, 32), generator=g, dtype=torch.uint8),
    }
    run, exported = load_run(folder / "run"), load_exported(folder / "export")
    for tower, x in pixels.items():
        with torch.no_grad():
            yield f"old run {tower}", digest(run(tower, x))
            yield f"old export {tower}", digest(exported.embed(x, tower))
    write_shapes(folder / "asked", 1)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert not main(
            ["search", f"{folder / 'index'}", f"{folder / 'asked/bottle/0.off'}", "-k=3", "--json"]
        )
    found = json.loads(said.getvalue())
    yield "old index", [json.dumps([hit["name"] for hit in found["hits"]])]


def write_shapes(root: Path, each: int) -> None:
    from shape_folders import write_off

    for name, k in itertools.product(CLASSES, range(each)):
        write_off(root / name / f"{k}.off", name, k)


def collect() -> dict[str, Any]:
    """All of it, and the machine that the bits hold for."""
    os.environ["BATCHOT_DATA"] = ""
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        torch.manual_seed(0)
        torch.set_num_threads(1)
        folder = Path(name)
        values = dict(itertools.chain(losses(), scores(), views(folder), runs(folder), old(folder)))
    machine = f"{torch.backends.cpu.get_cpu_capability()} {torch.__version__} {np.__version__}"
    return {"machine": machine, "values": values}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was: to the bit on a machine with the same instructions, else sums to a thousandth."""
    if before["values"].keys() != now["values"].keys():
        return sorted(before["values"].keys() ^ now["values"].keys())
    same = before["machine"] == now["machine"]
    return [
        f"{name}: {old} -> {new}"
        for name, old in before["values"].items()
        if (new := now["values"][name]) != old and (same or not _close(old, new))
    ]


def _close(old: list[Any], new: list[Any]) -> bool:
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if isinstance(a, float)]
    return bool(pairs) and all(abs(a - b) <= 1e-3 * abs(a) + 1e-6 for a, b in pairs)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    command, file = sys.argv[1], Path(sys.argv[2])
    if command == "write":
        file.write_text(json.dumps(collect(), indent=0))
    else:
        told = differences(json.loads(file.read_text()), collect())
        print("\n".join(told) or "all as it was")
        sys.exit(bool(told))
