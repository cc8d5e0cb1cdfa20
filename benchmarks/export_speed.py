"""How far embeddings of an exported network are from those of its run, and how long each takes, on a folder of shapes.

    python benchmarks/export_speed.py RUN FOLDER [--sketches FOLDER] [--n 100]

Exports the run into a temporary folder and embeds the same samples by torch, by onnxruntime and by the safetensors
file. Seconds are of the network alone, on as many threads as OMP_NUM_THREADS says. Needs the extras `search` and
`export`.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from batchot.data.sets.shape_folder import collection_of
from batchot.export import export_run, load_exported
from batchot.search.encoder import Encoder, load_encoder
from batchot.search.prepare import prepare_bytes, prepare_source
from batchot.towers.spec import Inputs


def spread(items: list, n: int) -> list:
    """n of them, evenly over the list."""
    return [items[k] for k in np.linspace(0, len(items) - 1, min(n, len(items))).astype(int)]


def shapes_of(folder: Path, inputs: Inputs, n: int) -> NDArray:
    collection = collection_of(folder)
    sources = spread([*collection.train, *collection.test], n)
    return np.stack([prepare_source(source, inputs).sample for source in sources])


def drawings_of(folder: Path, inputs: Inputs, n: int) -> NDArray:
    files = spread(sorted(folder.rglob("*.png")), n)
    return np.stack([prepare_bytes(file.read_bytes(), file.name, inputs, "drawing").sample for file in files])


def timed(embed, samples: NDArray, at_once: int) -> tuple[NDArray, float]:  # type: ignore[no-untyped-def]
    """Embeddings, and milliseconds a sample; the first batch is done twice, as the first call prepares things."""
    embed(samples[:at_once])
    start = time.perf_counter()
    out = np.concatenate([embed(samples[k : k + at_once]) for k in range(0, len(samples), at_once)])
    return out, 1e3 * (time.perf_counter() - start) / len(samples)


def compare(name: str, by_run, by_onnx, by_weights, samples: NDArray) -> None:  # type: ignore[no-untyped-def]
    for at_once in (1, 64):
        wanted, ours = timed(by_run, samples, at_once)
        found, theirs = timed(by_onnx, samples, at_once)
        weights, _ = timed(by_weights, samples, at_once)
        print(
            f"| {name} | {len(samples)} | {at_once} | {ours:.2f} | {theirs:.2f} | "
            f"{np.abs(found - wanted).max():.1e} | {np.abs(weights - wanted).max():.1e} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sketches", type=Path)
    parser.add_argument("--n", type=int, default=100)
    options = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads of torch")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        exported = export_run(options.run, Path(folder) / "exported")
        sizes = {name: size for name, size in exported.files.items() if size > 1e5}
        print(", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items()), "\n")
        run: Encoder = load_encoder(options.run, "cpu")
        onnx: Encoder = load_encoder(exported.folder)
        network = load_exported(exported.folder)
        assert run.fingerprint == onnx.fingerprint
        *first, last = network.towers
        print(
            "| samples | n | at once | torch, ms each | onnxruntime, ms each | difference of ONNX | of safetensors |"
        )
        print("|---|---|---|---|---|---|---|")
        samples = shapes_of(options.folder, run.inputs, options.n)
        compare(
            "shapes",
            run.shapes,
            onnx.shapes,
            lambda x: network.embed(torch.from_numpy(x), last).numpy(),
            samples,
        )
        if options.sketches is not None:
            samples = drawings_of(options.sketches, run.inputs, options.n)
            compare("drawings", run.drawings, onnx.drawings,
                    lambda x: network.embed(torch.from_numpy(x), first[0]).numpy(), samples)  # fmt: skip


if __name__ == "__main__":
    main()
