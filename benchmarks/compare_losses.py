"""The same recipe with one loss after another, several seeds each, and a table of what came out.

    python benchmarks/compare_losses.py mnist --data-root D --out runs/compare --epochs 2
    python benchmarks/compare_losses.py cifar10 --data-root D --out runs/compare --epochs 5

Network, data, batches, augmentation, optimiser and epochs are those of the recipe for every loss. The joint
cross-entropy is switched off, so that the embedding is the metric loss's work alone; with --joint it stays as the
recipe has it, and "cross-entropy" stands for the classifier with no metric loss beside it. Losses of
pytorch-metric-learning run with their own default settings. Each run is a `batchot train` in a process of its own
with one thread, two at a time; runs that are finished already are kept, so an interrupted comparison goes on.

A loss may bring settings of its own, after commas: contrastive,together.four_terms=true. A recipe may be a file:

    python benchmarks/compare_losses.py benchmarks/recipes/sketches-psb.yaml --data-root D --epochs 25 --at 1 5 25 \\
        --joint --measures map nn ft st e dcg --losses batch-ot uniform contrastive,together.four_terms=true
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LOSSES = (
    "batch-ot",
    "uniform",
    "contrastive",
    "triplet",
    "lifted",
    "npairs",
    "multi-similarity",
    "supcon",
)


def run(recipe: str, loss: str, seed: int, options: argparse.Namespace) -> Path:
    """Train once, unless that has been done; returns the run folder."""
    name, *own = loss.split(",")
    place = options.out / Path(recipe).stem
    folder = place / f"{loss.replace('=', '-')}-{seed}"
    metrics = folder / "metrics.json"
    if metrics.exists() and json.loads(metrics.read_text())["epoch"] >= options.epochs:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if name == "cross-entropy":
        objective = ["loss.weight=0", "loss.cross_entropy_weight=1"]
    else:
        objective = [f"loss={name}", *([] if options.joint else ["loss.cross_entropy_weight=0"])]
    command = [
        sys.executable,
        "-m",
        "batchot",
        "train",
        recipe,
        *objective,
        *own,
    ]
    command += ["--epochs", str(options.epochs), "--seed", str(seed), "--out", str(folder), *options.override]
    if options.data_root:
        command += ["--data-root", str(options.data_root)]
    if (folder / "checkpoints").exists():
        command.append("--resume")
    with (place / f"{folder.name}.log").open("a") as log:
        code = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ).returncode
    print(f"{recipe} {loss} seed {seed}: {'done' if code == 0 else f'failed with status {code}'}", flush=True)
    return folder


def column(folders: list[Path], epoch: int, key: str) -> str:
    """Mean and standard deviation over seeds of a score after an epoch, in percent."""
    values = []
    for folder in folders:
        history = folder / "history.csv"
        rows = list(csv.DictReader(history.open())) if history.exists() else []
        values += [100 * float(row[key]) for row in rows if int(row["epoch"]) == epoch and row[key]]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}" + (
        "" if len(values) == len(folders) else f" ({len(values)} runs)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--losses", nargs="+", default=list(LOSSES))
    parser.add_argument("--joint", action="store_true", help="with the cross-entropy of the recipe")
    parser.add_argument(
        "--at", type=int, nargs="+", help="epochs of the table (default: 1 2 3 5 and the last)"
    )
    parser.add_argument("--measures", nargs="+", default=["nn", "accuracy"], help="after the last epoch")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--set", nargs="+", default=[], dest="override", help="settings of the recipe, such as batch.size=64"
    )
    options = parser.parse_args()
    # Seed by seed, so that an early end still leaves a whole table.
    jobs = [(loss, seed) for seed in range(options.seeds) for loss in options.losses]
    with ThreadPoolExecutor(options.processes) as pool:
        folders = list(pool.map(lambda job: run(options.recipe, *job, options), jobs))
    of_loss = {
        loss: [f for f, job in zip(folders, jobs, strict=True) if job[0] == loss] for loss in options.losses
    }
    epochs = options.at or sorted({1, 2, 3, 5, options.epochs} & set(range(1, options.epochs + 1)))
    heads = [f"mAP, epoch {e}" for e in epochs]
    heads.append(
        f"{', '.join(m.upper().replace('MAP', 'mAP') for m in options.measures)}, epoch {options.epochs}"
    )
    print(f"\n| {Path(options.recipe).stem} | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(heads)}")
    for loss in options.losses:
        cells = [column(of_loss[loss], epoch, "map") for epoch in epochs]
        last = [column(of_loss[loss], options.epochs, key) for key in options.measures]
        cells.append(" / ".join(last))
        print(f"| {loss} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
