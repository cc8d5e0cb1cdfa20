"""What the plan did over the training: plan.csv of a run folder."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from batchot.errors import RunError
from batchot.losses import PlanHistogram, PlanReport

PARTS = tuple(field.name for field in dataclasses.fields(PlanHistogram))
_NUMBERS = tuple(field.name for field in dataclasses.fields(PlanReport) if field.name != "histogram")

PlanRow = Mapping[
    str, float | None
]  # by column; "step", "epoch", numbers of the report, and PART_KK of the histogram


def looked_at(step: int) -> bool:
    """Say whether the plan of a step (from 1) is written down: 1, 2, 5, 10, 20, 50, ..., as the first ones change
    most."""
    digits = str(step).rstrip("0")
    return digits in ("1", "2", "5")


def plan_row(step: int, steps_per_epoch: int, plan: PlanReport) -> dict[str, float | None]:
    """Give a line of plan.csv."""
    row: dict[str, float | None] = {"step": step, "epoch": round(step / steps_per_epoch, 6)}
    row |= {name: getattr(plan, name) for name in _NUMBERS}
    for part in PARTS:
        shares = getattr(plan.histogram, part)
        row |= {f"{part}_{k:02d}": round(share, 9) for k, share in enumerate(shares)}
    return row


def read_plans(path: Path) -> tuple[PlanRow, ...]:
    """Read plan.csv."""
    if not path.is_file():
        return ()
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, cells in enumerate(csv.DictReader(file), start=2):
            try:
                rows.append({name: float(text) if text else None for name, text in cells.items()})
            except (ValueError, TypeError) as error:
                raise RunError(f"{path}, line {number}: {error}; the file was changed or damaged") from error
    return tuple(rows)


def histogram_of(row: PlanRow, part: str) -> list[float]:
    """Give one part of the histogram of a line, from the hardest bin to the easiest."""
    names = sorted(name for name in row if name.startswith(f"{part}_") and name[-2:].isdigit())
    return [row[name] or 0.0 for name in names]
