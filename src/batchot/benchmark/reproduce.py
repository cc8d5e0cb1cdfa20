"""The six benchmarks of the paper: its figures, ours, and how to run them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchot.benchmark.job import key_of
from batchot.benchmark.results import Interval, mean_interval
from batchot.device import Device
from batchot.errors import DataError, Tell
from batchot.files import RunFolder
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.recipes import load_recipe

_NAMES = {"map": "mAP", "accuracy": "accuracy", "nn": "NN", "ft": "FT", "st": "ST", "e": "E", "dcg": "DCG"}


@dataclass(frozen=True)
class Row:
    """A benchmark with one recipe."""

    name: str  # of the benchmark
    recipe: str  # of this package
    settings: str  # what the recipe computes: "ours", or the preset of the paper's or its authors' settings
    paper: dict[str, float]  # the paper's figures by measure, in percent
    at: str  # when the paper has them, in words

    def command(self, seed: int, out: Path, data_root: Path | None) -> str:
        root = f" --data-root {data_root}" if data_root is not None else ""
        return f"batchot train {self.recipe}{root} --seed {seed} --out {self.folder(seed, out)}"

    def folder(self, seed: int, out: Path) -> Path:
        """Where its run lies: a change of the recipe is another run."""
        return out / f"{self.recipe}-{key_of(self.made(seed))[:8]}-seed{seed}"

    def made(self, seed: int) -> Recipe:
        return load_recipe(self.recipe, [("seed", str(seed))])


_SHREC13 = {"map": 75.4, "nn": 71.3, "ft": 72.8, "st": 78.8, "e": 36.6, "dcg": 81.8}
_SHREC14 = {"map": 59.1, "nn": 53.6, "ft": 56.4, "st": 62.9, "e": 30.5, "dcg": 71.2}
_MNIST, _CIFAR = {"map": 98.6, "accuracy": 99.1}, {"map": 28.0, "accuracy": 56.4}

# Figures of the paper: MNIST and CIFAR-10 are read off its plots, +-0.2; the others are from its tables.
ROWS = (
    Row("MNIST", "mnist", "ours", _MNIST, "epoch 5"),
    Row("MNIST", "mnist-paper", "paper", _MNIST, "epoch 5"),
    Row("MNIST", "mnist-author-code", "author-code", _MNIST, "epoch 5"),
    Row("CIFAR-10", "cifar10", "ours", _CIFAR, "epoch 5"),
    Row("CIFAR-10", "cifar10-long", "ours, 50 epochs", {"map": 50.4, "accuracy": 71.8}, "epoch 50"),
    Row("SHREC'13", "shrec13", "ours", _SHREC13, "at the end"),
    Row("SHREC'14", "shrec14", "ours", _SHREC14, "at the end"),
    Row("SHREC'14", "shrec14-paper", "paper", _SHREC14, "at the end"),
    Row("ModelNet10", "modelnet10", "ours", {"map": 90.0, "accuracy": 94.2}, "at the end"),
    Row("ModelNet40", "modelnet40", "ours", {"map": 89.2, "accuracy": 93.1}, "at the end"),
    Row("ModelNet40", "modelnet40-wide", "ours, wide", {"map": 89.2, "accuracy": 93.1}, "at the end"),
)


@dataclass(frozen=True)
class Reproduced:
    """What is known of a row."""

    row: Row  # which
    ours: dict[str, Interval]  # by measure, over the seeds that were run, as fractions
    seeds: tuple[int, ...]  # that were run to the end
    epochs: int  # of these runs, and of the recipe
    missing: str | None  # why the data cannot be had; None if it is there


def chosen_rows(names: Sequence[str]) -> tuple[Row, ...]:
    """Give the rows of these benchmarks or recipes, all of them where none is named."""
    if not names:
        return ROWS
    rows: list[Row] = []
    for name in names:
        found = [row for row in ROWS if name == row.recipe] or [
            row for row in ROWS if _bare(name) == _bare(row.name)
        ]
        if not found:
            known = ", ".join(dict.fromkeys(row.name for row in ROWS))
            raise RecipeError(f"no benchmark {name!r}; there are {known}, and the recipes of the table")
        rows += [row for row in found if row not in rows]
    return tuple(rows)


def _bare(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def reproduced(row: Row, seeds: Sequence[int], out: Path, data_root: Path | None) -> Reproduced:
    """Find what was run of a row, and whether its data is there."""
    found: dict[int, dict[str, Any]] = {}
    epochs = row.made(0).epochs
    for seed in seeds:
        path = RunFolder(row.folder(seed, out)).metrics
        if path.is_file():
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["epoch"] == epochs:
                found[seed] = values
    measures = [m for m in row.paper if found and all(v.get(m) is not None for v in found.values())]
    ours = {m: mean_interval([values[m] for values in found.values()]) for m in measures}
    return Reproduced(row, ours, tuple(found), epochs, missing_data(row.made(0), data_root))


def missing_data(recipe: Recipe, data_root: Path | None) -> str | None:
    """Say why the data of a recipe cannot be had here; None if it is there. Nothing is downloaded."""
    from batchot.data import load_dataset
    from batchot.data.sets.shrec import load_shrec_sketches
    from batchot.training.inputs import collection_of, root_of

    try:
        for part in sorted(recipe.parts.values(), key=lambda part: not part.data.shapes):
            if part.data.shapes:
                collection_of(part, data_root)
            elif part.data.drawn:
                load_shrec_sketches(13 if "13" in part.data.name else 14, data_root, size=8)
            else:
                load_dataset(part.data.name, root_of(part, data_root), download=False)
    except (DataError, RecipeError) as error:
        return " ".join(str(error).split())
    return None


def run_row(row: Row, seed: int, out: Path, data_root: Path | None, device: Device, tell: Tell) -> None:
    """Train a row with a seed, going on where it was interrupted; a finished run is left as it is."""
    from batchot.reporting.run import write_report
    from batchot.training.run import Messages, train

    recipe, folder = row.made(seed), RunFolder(row.folder(seed, out))
    if folder.report.is_file():
        return
    how: dict[str, Any] = {
        "data_root": data_root,
        "device": device,
        "resume": folder.holds_run(),
        "command": row.command(seed, out, data_root),
        "messages": Messages(
            note=tell, epoch=lambda r: tell(f"epoch {r.epoch}/{recipe.epochs}, loss {r.loss:.4f}")
        ),
    }
    write_report(train(recipe, folder.root, **how))


def markdown_table(rows: Sequence[Reproduced], out: Path, data_root: Path | None) -> str:
    lines = ["| benchmark | recipe | settings | the paper | here |", "|---|---|---|---|---|"]
    for found in rows:
        row = found.row
        paper = ", ".join(f"{_NAMES[m]} {v:.1f}" for m, v in row.paper.items()) + f" ({row.at})"
        lines.append(f"| {row.name} | `{row.recipe}` | {row.settings} | {paper} | {_here(found)} |")
    missing = list(dict.fromkeys((f.row.name, f.missing) for f in rows if f.missing))
    if missing:
        lines += ["", "Data that is not here:", ""]
        lines += [f"- {name}: {why}" for name, why in missing]
    todo = [f for f in rows if not f.seeds]
    if todo:
        lines += [
            "",
            "How to run the rows that were not, or with `batchot reproduce --run` all whose data is here; these "
            "commands download MNIST, CIFAR-10 and ModelNet:",
            "",
        ]
        lines += [f"    {f.row.command(0, out, data_root)}" for f in todo]
    return "\n".join(lines) + "\n"


def _here(found: Reproduced) -> str:
    if not found.seeds:
        return "no data here" if found.missing else "not run"
    told = ", ".join(
        f"{_NAMES[m]} {100 * i.mean:.2f}" + ("" if i.half is None else f" ± {100 * i.half:.2f}")
        for m, i in found.ours.items()
    )
    seeds = "seed" if len(found.seeds) == 1 else "seeds"
    return f"{told} (epoch {found.epochs}, {seeds} {', '.join(map(str, found.seeds))})"
