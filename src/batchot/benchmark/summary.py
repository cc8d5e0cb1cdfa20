"""What a comparison says: means and intervals by epoch, leads, and when a target was reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from batchot.benchmark.compare import Compared, Result
from batchot.benchmark.statistics import Interval, mean_interval, paired_difference
from batchot.training.callbacks import Row

MEASURES = {"map": "mAP", "accuracy": "accuracy", "nn": "NN"}


@dataclass(frozen=True)
class Reached:
    """When the runs of a loss reached a target.

    Args:
        runs: how many did
        of: how many there are
        epochs, seconds: mean over those that did, None where none did; an epoch counts as reached at its end
    """

    runs: int
    of: int
    epochs: float | None
    seconds: float | None


def evaluated_epochs(results: Sequence[Result]) -> list[int]:
    """Give the epochs after which any run was measured."""
    rows = (row for result in results for run in result.runs.values() for row in run.rows)
    return sorted({row.epoch for row in rows if row.map is not None})


def shown_epochs(epochs: Sequence[int]) -> list[int]:
    """Choose the epochs of a table: the first ones, then ever further apart, and the last.

    >>> shown_epochs([1, 2, 3, 4, 5, 6, 7, 8])
    [1, 2, 5, 8]
    """
    wanted = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
    return [epoch for epoch in epochs if epoch in wanted or epoch == epochs[-1]]


def values_at(result: Result, epoch: int, measure: str) -> dict[int, float]:
    """Give a measure after an epoch by seed; a run that diverged counts as 0 from there on.

    Args:
        result: of a loss
        epoch: after which
        measure: a column of history.csv

    Returns:
        By seed, without those that were not measured then.
    """
    values = {}
    for seed, run in result.runs.items():
        row = _row_at(run.rows, epoch)
        value = None if row is None else getattr(row, measure)
        if value is not None:
            values[seed] = float(value)
        elif run.diverged and (not run.rows or run.rows[-1].epoch < epoch):
            values[seed] = 0.0
    return values


def interval_at(result: Result, epoch: int, measure: str) -> Interval | None:
    """Give mean and interval of a measure after an epoch; None where no run was measured then."""
    values = values_at(result, epoch, measure)
    return mean_interval(list(values.values())) if values else None


def seconds_at(result: Result, epoch: int) -> float | None:
    """Give the mean time of training until the end of an epoch."""
    found = [row.seconds for run in result.runs.values() if (row := _row_at(run.rows, epoch)) is not None]
    return statistics.fmean(found) if found else None


def lead(first: Result, other: Result, epoch: int, measure: str = "map") -> Interval | None:
    """Give by how much one loss leads another after an epoch, paired by seed."""
    return paired_difference(values_at(first, epoch, measure), values_at(other, epoch, measure))


def target_of(compared: Compared, epoch: int) -> float | None:
    """Give the mAP to be reached: the best mean of a peer after the last epoch, of any loss where there is no peer."""
    peers = [r for r in compared.results if not r.contender.ours] or compared.results
    means = [i.mean for r in peers if (i := interval_at(r, epoch, "map")) is not None]
    return max(means, default=None)


def reached(result: Result, target: float) -> Reached:
    """Find when each run first had a mAP of at least the target."""
    first: list[Row] = []
    for run in result.runs.values():
        hit = next((row for row in run.rows if row.map is not None and row.map >= target), None)
        if hit is not None:
            first.append(hit)
    n = len(result.runs)
    if not first:
        return Reached(0, n, None, None)
    return Reached(
        len(first), n, statistics.fmean(r.epoch for r in first), statistics.fmean(r.seconds for r in first)
    )


def _row_at(rows: Sequence[Row], epoch: int) -> Row | None:
    return next((row for row in rows if row.epoch == epoch), None)
