"""Run all of ideas.yaml on CIFAR-10 and on points of ModelNet40 and print the tables of docs/research.md.

    python benchmarks/research/table.py --data-root D --out runs/research

mAP after one and two epochs on a held-out part of the training set, one seed. What was run is kept in --out, a line a
run; the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RECIPES = {"cifar10": "data.validation=0.1", "modelnet40-points": "data.validation=0.15"}


def command(recipe: str, idea: dict[str, Any]) -> list[str]:
    """Give the arguments of run.py."""
    given = [
        recipe,
        *idea.get("options", []),
        "--settings",
        "epochs=2",
        RECIPES[recipe],
        *idea.get("settings", []),
    ]
    return [*given, "--loss", idea["loss"]] if "loss" in idea else given


def measured(recipe: str, idea: dict[str, Any], data_root: str, kept: Path) -> list[str]:
    """Give the mAP after each epoch, run or kept."""
    given = command(recipe, idea)
    if not kept.exists() or json.loads(kept.read_text())["command"] != given:
        program = [sys.executable, str(HERE / "run.py"), *given, "--data-root", data_root]
        one = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        done = subprocess.run(program, capture_output=True, text=True, env=one)
        if done.returncode:
            raise SystemExit(f"{' '.join(given)}:\n{done.stderr[-2000:]}")
        values = done.stdout.strip().splitlines()[-1].removeprefix("mAP ").split()
        kept.write_text(json.dumps({"command": given, "mAP": values}))
        print(" ".join(given), *values, file=sys.stderr, flush=True)
    return list(json.loads(kept.read_text())["mAP"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/research"))
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    groups = yaml.safe_load((HERE / "ideas.yaml").read_text())
    with ThreadPoolExecutor(arguments.processes) as pool:
        found = {
            (name, recipe): pool.submit(
                measured, recipe, idea, arguments.data_root, arguments.out / f"{name}-{recipe}.json"
            )
            for group in groups
            for name, idea in group["ideas"].items()
            for recipe in RECIPES
        }
        for group in groups:
            print(
                f"\n**{group['title']}**\n\n| | set by | CIFAR-10, epoch 1 | 2 | ModelNet40 points, epoch 1 | 2 |"
            )
            print("|---|---|---|---|---|---|")
            for name, idea in group["ideas"].items():
                by = [*idea.get("options", []), *idea.get("settings", [])]
                by = " ".join([f"--loss {idea['loss']}", *by] if "loss" in idea else by)
                cells = [value for recipe in RECIPES for value in found[name, recipe].result()]
                print(f"| {idea['is']} | {by and f'`{by}`'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
