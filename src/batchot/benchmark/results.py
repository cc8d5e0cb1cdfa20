"""The results of a comparison as files: JSON with everything, CSV with a line an epoch, Markdown tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchot.benchmark.compare import Compared, Result
from batchot.benchmark.machine import describe_machine
from batchot.benchmark.statistics import Interval
from batchot.benchmark.summary import (
    MEASURES,
    Reached,
    evaluated_epochs,
    interval_at,
    lead,
    reached,
    seconds_at,
    shown_epochs,
    target_of,
)
from batchot.training.files import write_csv, write_text
from batchot.training.settings import load_any_recipe, to_mapping


def write_results(compared: Compared, out: Path, target: float | None = None) -> dict[str, Any]:
    """Write results.json, results.csv and results.md.

    Args:
        compared: the comparison
        out: folder
        target: mAP whose first epoch is looked for, in [0, 1] (None: see `target_of`)

    Returns:
        The content of results.json.

    Raises:
        RunError: cannot be written
    """
    values = as_values(compared, target)
    write_text(out / "results.json", json.dumps(values, indent=2) + "\n")
    write_csv(out / "results.csv", epoch_rows(compared, values))
    write_text(out / "results.md", markdown(compared, target))
    return values


def as_values(compared: Compared, target: float | None = None) -> dict[str, Any]:
    """Give all results as plain values, see `write_results`."""
    comparison, results = compared.comparison, compared.results
    epochs = evaluated_epochs(results)
    goal = _goal(compared, target)
    return {
        "command": comparison.command,
        "recipe": to_mapping(load_any_recipe(comparison.recipe, comparison.overrides)),
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
    name = load_any_recipe(compared.comparison.recipe, compared.comparison.overrides).name
    heads = [name, *(f"mAP, epoch {e}" for e in shown), f"NN, epoch {last}", f"accuracy, epoch {last}"]
    if goal is not None:
        heads.append(f"epochs (seconds) to mAP {100 * goal:.2f}")
    lines = [_line(heads), _line(["---"] * len(heads))]
    for result in results:
        cells = [_bold(result, results[0])]
        cells += [cell(interval_at(result, e, "map")) for e in shown]
        cells += [cell(interval_at(result, last, m)) for m in ("nn", "accuracy")]
        if goal is not None:
            cells.append(reached_text(reached(result, goal)))
        lines.append(_line(cells))
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


def cell(interval: Interval | None) -> str:
    """Give mean ± half width in percent.

    >>> cell(Interval(0.5, 0.0125, 3)), cell(Interval(0.5, None, 1)), cell(None)
    ('50.00 ± 1.25', '50.00 (1)', '-')
    """
    if interval is None:
        return "-"
    return f"{100 * interval.mean:.2f} " + (
        "(1)" if interval.half is None else f"± {100 * interval.half:.2f}"
    )


def lead_text(interval: Interval | None) -> str:
    """Give a difference in points; in bold where its interval excludes 0.

    >>> lead_text(Interval(0.02, 0.01, 3)), lead_text(Interval(-0.01, 0.02, 3))
    ('**+2.00 ± 1.00**', '-1.00 ± 2.00')
    """
    if interval is None:
        return "-"
    spread = "" if interval.half is None else f" ± {100 * interval.half:.2f}"
    text = f"{100 * interval.mean:+.2f}{spread}"
    return f"**{text}**" if interval.sign else text


def reached_text(found: Reached) -> str:
    """Say when a target was reached.

    >>> reached_text(Reached(3, 3, 2.0, 61.0)), reached_text(Reached(0, 3, None, None))
    ('2.0 (61)', 'not')
    """
    if found.epochs is None or found.seconds is None:
        return "not"
    some = "" if found.runs == found.of else f", {found.runs} of {found.of} runs"
    return f"{found.epochs:.1f} ({found.seconds:.0f}{some})"


def _bold(result: Result, first: Result) -> str:
    return f"**{result.contender.name}**" if result is first else result.contender.name


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
