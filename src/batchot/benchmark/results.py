"""Results of a comparison: statistics, tables, files."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchot.benchmark.compare import Compared, Result
from batchot.benchmark.job import describe_machine
from batchot.files import write_csv, write_text
from batchot.training.callbacks import Row
from batchot.training.recipes import load_recipe, to_mapping


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval; there is no interval of a single value."""

    mean: float
    half: float | None
    n: int

    @property
    def low(self) -> float:
        """Lower end; the mean itself of a single value."""
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        """Upper end; the mean itself of a single value."""
        return self.mean + (self.half or 0.0)

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below 0, else 0; 0 without an interval."""
        if self.half is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    if not values:
        raise ValueError("a mean needs at least one value")
    mean = statistics.fmean(values)
    n = len(values)
    if n == 1:
        return Interval(mean, None, 1)
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean, half, n)


def paired_difference(first: dict[int, float], second: dict[int, float]) -> Interval | None:
    """Give the interval of the difference between two losses, seed by seed."""
    shared = sorted(first.keys() & second.keys())
    return mean_interval([first[seed] - second[seed] for seed in shared]) if shared else None


MEASURES = {"map": "mAP", "accuracy": "accuracy", "nn": "NN"}


@dataclass(frozen=True)
class Reached:
    """When the runs of a loss reached a target."""

    runs: int  # how many did
    # how many there are epochs, seconds: mean over those that did, None where none did; an epoch counts as reached
    # at its end
    of: int
    epochs: float | None
    seconds: float | None


def evaluated_epochs(results: Sequence[Result]) -> list[int]:
    """Give the epochs after which any run was measured."""
    rows = (row for result in results for run in result.runs.values() for row in run.rows)
    return sorted({row.epoch for row in rows if row.map is not None})


def shown_epochs(epochs: Sequence[int]) -> list[int]:
    """Choose the epochs of a table: the first ones, then ever further apart, and the last."""
    wanted = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
    return [epoch for epoch in epochs if epoch in wanted or epoch == epochs[-1]]


def values_at(result: Result, epoch: int, measure: str) -> dict[int, float]:
    """Give a measure after an epoch by seed; a run that diverged counts as 0 from there on."""
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


def write_results(compared: Compared, out: Path, target: float | None = None) -> dict[str, Any]:
    values = as_values(compared, target)
    write_text(out / "results.json", json.dumps(values, indent=2) + "\n")
    write_csv(out / "results.csv", epoch_rows(compared, values))
    write_text(out / "results.md", markdown(compared, target))
    return values


def as_values(compared: Compared, target: float | None = None) -> dict[str, Any]:
    comparison, results = compared.comparison, compared.results
    epochs = evaluated_epochs(results)
    goal = _goal(compared, target)
    return {
        "command": comparison.command,
        "recipe": to_mapping(load_recipe(comparison.recipe, comparison.overrides)),
        "joint": comparison.joint,
        "started": compared.started.isoformat(timespec="seconds"),
        "finished": compared.finished.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "commits": commits(results),
        "processes": comparison.processes,
        "threads": comparison.threads,
        "seeds": list(comparison.seeds),
        "tuning": {
            "trials": comparison.trials,
            "validation": comparison.validation,
            "overrides": [list(pair) for pair in comparison.tuning],
        },
        "target": goal,
        "losses": [_loss_values(result, results[0], epochs, goal) for result in results],
    }


def commits(results: Sequence[Result]) -> list[str]:
    """Give the commits that the runs were started with, the most frequent first."""
    found = [run.commit or "unknown" for result in results for run in result.runs.values()]
    return sorted(set(found), key=lambda name: (-found.count(name), name))


def machines(results: Sequence[Result]) -> list[str]:
    """Give the processors and GPUs that the runs were on, the most frequent first."""
    found = [
        ", ".join(filter(None, (run.measured["machine"]["processor"], run.measured["machine"]["gpu"])))
        for result in results
        for run in result.runs.values()
    ]
    return sorted(set(found), key=lambda name: (-found.count(name), name))


def _loss_values(result: Result, first: Result, epochs: Sequence[int], goal: float | None) -> dict[str, Any]:
    def at(epoch: int) -> dict[str, Any]:
        intervals = {m: _plain(interval_at(result, epoch, m)) for m in MEASURES}
        behind = None if result is first else _plain(lead(first, result, epoch))
        return {"epoch": epoch, "seconds": seconds_at(result, epoch), **intervals, "lead_of_first": behind}

    return {
        "name": result.contender.name,
        "settings": dict(result.contender.overrides),
        "chosen": result.values,
        "trials": [dataclasses.asdict(trial) for trial in result.trials],
        "epochs": [at(epoch) for epoch in epochs],
        "reached": None if goal is None or not result.runs else dataclasses.asdict(reached(result, goal)),
        "runs": [
            {
                "seed": seed,
                "folder": run.folder.name,
                "commit": run.commit,
                **run.measured,
                "diverged": run.diverged,
                "rows": [dataclasses.asdict(row) for row in run.rows],
            }
            for seed, run in sorted(result.runs.items())
        ],
    }


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else dataclasses.asdict(interval)


def epoch_rows(compared: Compared, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a row for every epoch of every run that counts, with where and when it was measured."""
    rows = []
    for result in compared.results:
        for seed, run in sorted(result.runs.items()):
            about = {"loss": result.contender.name, "recipe": values["recipe"]["name"], "seed": seed}
            machine = run.measured["machine"]
            where = {
                "commit": run.commit,
                "finished": run.measured["finished"],
                "processor": machine["processor"],
                "gpu": machine["gpu"],
                "torch": machine["versions"]["torch"],
            }
            for row in run.rows:
                measured = dataclasses.asdict(row)
                measured["training_loss"] = measured.pop("loss")  # "loss" is the name of the loss here
                rows.append({**about, **{k: v for k, v in measured.items() if k not in about}, **where})
    return rows or [{"loss": "", "recipe": values["recipe"]["name"]}]


def markdown(compared: Compared, target: float | None = None) -> str:
    """Give the tables of a comparison as Markdown: mean ± half of the 95 % interval, in percent."""
    results, epochs = compared.results, evaluated_epochs(compared.results)
    if not epochs:
        return "\n\n".join(["No run was measured.", *diverged_notes(results)]) + "\n"
    goal, last, shown = _goal(compared, target), epochs[-1], shown_epochs(epochs)
    name = load_recipe(compared.comparison.recipe, compared.comparison.overrides).name
    heads = [name, *(f"mAP, epoch {e}" for e in shown), f"NN, epoch {last}", f"accuracy, epoch {last}"]
    if goal is not None:
        heads.append(f"epochs (seconds) to mAP {100 * goal:.2f}")
    lines = [_line(heads), _line(["---"] * len(heads))]
    for result in results:
        name = f"**{result.contender.name}**" if result is results[0] else result.contender.name
        lines.append(_line([name, *measured_cells(result, shown, goal)]))
    for note in diverged_notes(results):
        lines += ["", note]
    lines += ["", f"Lead of {results[0].contender.name} in mAP, paired by seed:", ""]
    heads = ["over", *(f"epoch {e}" for e in shown)]
    lines += [_line(heads), _line(["---"] * len(heads))]
    for result in results[1:]:
        lines.append(_line([result.contender.name, *(lead_text(lead(results[0], result, e)) for e in shown)]))
    if compared.comparison.trials:
        lines += ["", "Chosen of " + f"{compared.comparison.trials} trials each:", ""]
        lines += [f"- {r.contender.name}: {chosen_text(r)}" for r in results]
    return "\n".join(lines) + "\n"


def diverged_notes(results: Sequence[Result]) -> list[str]:
    """Name the losses of which runs diverged, a sentence each."""
    notes = []
    for result in results:
        gone = sum(run.diverged is not None for run in result.runs.values())
        if gone:
            name, n = result.contender.name, len(result.runs)
            notes.append(f"{name}: training diverged in {gone} of {n} runs, which count as 0.")
    return notes


def chosen_text(result: Result) -> str:
    """Say which settings were chosen, and what the trials gave."""
    scores = [trial.score for trial in result.trials]
    if not scores:
        return "as it comes"
    settings = ", ".join(
        f"{name.removeprefix('loss.').removeprefix('options.')} "
        f"{'x ' if result.contender.space[name].factor else ''}{value:.3g}"
        for name, value in result.values.items()
    )
    best = max((s for s in scores if s is not None), default=None)
    first = "diverged" if scores[0] is None else f"{100 * scores[0]:.2f}"
    told = "all diverged" if best is None else f"{100 * best:.2f} on the validation part, {first} as it comes"
    return f"{settings or 'nothing to tune'} ({told})"


def _goal(compared: Compared, target: float | None) -> float | None:
    epochs = evaluated_epochs(compared.results)
    return target if target is not None or not epochs else target_of(compared, epochs[-1])


def measured_cells(result: Result, shown: Sequence[int], goal: float | None) -> list[str]:
    """Give mAP after the shown epochs, NN and accuracy after the last, and when the goal was reached."""
    asked = [*((epoch, "map") for epoch in shown), (shown[-1], "nn"), (shown[-1], "accuracy")]
    cells = [cell(interval_at(result, epoch, measure)) for epoch, measure in asked]
    return cells if goal is None else [*cells, reached_text(reached(result, goal))]


def cell(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{100 * interval.mean:.2f} " + (
        "(1)" if interval.half is None else f"± {100 * interval.half:.2f}"
    )


def lead_text(interval: Interval | None) -> str:
    """Give a difference in points; in bold where its interval excludes 0."""
    if interval is None:
        return "-"
    spread = "" if interval.half is None else f" ± {100 * interval.half:.2f}"
    text = f"{100 * interval.mean:+.2f}{spread}"
    return f"**{text}**" if interval.sign else text


def reached_text(found: Reached) -> str:
    if found.epochs is None or found.seconds is None:
        return "not"
    some = "" if found.runs == found.of else f", {found.runs} of {found.of} runs"
    return f"{found.epochs:.1f} ({found.seconds:.0f}{some})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
