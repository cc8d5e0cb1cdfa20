"""The page of a comparison: tables and curves that need no other file."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any

import yaml

from batchot.benchmark.compare import Compared, Result
from batchot.benchmark.figures import draw_measure, draw_trials
from batchot.benchmark.results import (
    cell,
    chosen_text,
    commits,
    diverged_notes,
    lead_text,
    machines,
    reached_text,
)
from batchot.benchmark.summary import (
    MEASURES,
    evaluated_epochs,
    interval_at,
    lead,
    reached,
    shown_epochs,
)
from batchot.reporting.markup import table, themed_figure
from batchot.reporting.page import assemble_page, headline_cards


def make_comparison_page(compared: Compared, values: dict[str, Any]) -> str:
    """Make the HTML page of a comparison.

    Args:
        compared: the comparison
        values: content of results.json

    Returns:
        The page.
    """
    results, name = compared.results, values["recipe"]["name"]
    sections = [("table", "Table", _table_section(compared, values))]
    sections.append(("leads", f"Lead of {escape(results[0].contender.name)}", _lead_section(results)))
    sections.append(("curves", "Curves", _curves_section(results)))
    if compared.comparison.trials:
        sections.append(("tuning", "Tuning", _tuning_section(compared)))
    sections.append(("how", "How it was measured", _how_section(compared, values)))
    config = yaml.safe_dump(values["recipe"], sort_keys=False, width=110)
    return assemble_page(
        f"Losses compared: {name}", values["recipe"]["about"], _headline(compared), sections, config
    )


def _headline(compared: Compared) -> str:
    results, epochs = compared.results, evaluated_epochs(compared.results)
    cards: list[tuple[str, str]] = []
    if epochs:
        at = {r.contender.name: i for r in results if (i := interval_at(r, epochs[-1], "map")) is not None}
        best = sorted(at, key=lambda n: -at[n].mean)[:2]
        cards += [(f"{100 * at[n].mean:.2f} %", f"mAP of {n} after epoch {epochs[-1]}") for n in best]
    comparison = compared.comparison
    cards.append((str(len(results)), "losses"))
    cards.append((str(len(comparison.seeds)), "seeds each"))
    cards.append((str(comparison.trials), "trials of settings each"))
    return headline_cards(cards, ())


def _table_section(compared: Compared, values: dict[str, Any]) -> str:
    results, epochs = compared.results, evaluated_epochs(compared.results)
    note = "".join(f"<p>{escape(text)}</p>" for text in diverged_notes(results))
    if not epochs:
        return f"<p>No run was measured.</p>{note}"
    shown, last, goal = shown_epochs(epochs), epochs[-1], values["target"]
    header = ["loss", *(f"mAP, epoch {e}" for e in shown), f"NN, epoch {last}", f"accuracy, epoch {last}"]
    header += [f"epochs (seconds) to {100 * goal:.2f}"] if goal is not None else []
    rows = []
    for result in results:
        cells = [escape(result.contender.name)]
        cells += [cell(interval_at(result, e, "map")) for e in shown]
        cells += [cell(interval_at(result, last, m)) for m in ("nn", "accuracy")]
        if goal is not None:
            cells.append(reached_text(reached(result, goal)))
        rows.append(cells)
    return (
        table(header, rows, names=1)
        + '<p class="muted">Mean over the seeds ± half the 95 % interval by Student\'s t, in percent, on the test '
        "set. The target is the best last mAP of a loss that is not ours, unless another was asked for.</p>"
        + note
    )


def _lead_section(results: list[Result]) -> str:
    shown = shown_epochs(evaluated_epochs(results))
    rows = []
    for result in results[1:]:
        cells = [escape(result.contender.name)]
        for epoch in shown:
            text = lead_text(lead(results[0], result, epoch))
            cells.append(f"<b>{text.strip('*')}</b>" if text.startswith("**") else text)
        rows.append(cells)
    return (
        table(["over", *(f"epoch {e}" for e in shown)], rows, names=1)
        + '<p class="muted">Difference in mAP, points, seed by seed: runs of a seed share first weights, batches and '
        "augmentation. Bold where the 95 % interval excludes 0; with many losses and epochs one in twenty "
        "such intervals does so by chance.</p>"
    )


def _curves_section(results: list[Result]) -> str:
    plots = ""
    for measure, name in MEASURES.items():
        for by_second in (False, True):
            draw = partial(_drawn, results, measure, by_second)
            plots += themed_figure(draw, f"{name} by {'second' if by_second else 'epoch'}")
    return f'<div class="plots">{plots}</div><p class="muted">Bands: 95 % intervals of the means.</p>'


def _drawn(results: list[Result], measure: str, by_second: bool, theme: Any) -> Any:
    return draw_measure(results, measure, by_second=by_second, theme=theme)


def _tuning_section(compared: Compared) -> str:
    results = compared.results
    rows = [[escape(r.contender.name), f'<td class="name">{escape(chosen_text(r))}</td>'] for r in results]
    plot = themed_figure(partial(draw_trials, results), "trials")
    share = f"{100 * compared.comparison.validation:g}"
    return (
        f'<div class="plots">{plot}</div>{table(["loss", "chosen"], rows, names=2)}'
        f'<p class="muted">Judged by the mAP of the last epoch on {share} % of the training set, never on the test '
        "set; the first trial is the loss as it comes.</p>"
    )


def _how_section(compared: Compared, values: dict[str, Any]) -> str:
    machine = values["machine"]
    facts = {
        "command": values["command"],
        "date": f"{values['started']} to {values['finished']} (UTC; an earlier session may have done part of the runs)",
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
        + (f", {machine['gpu']}" if machine["gpu"] else ", no GPU"),
        "runs on": "; ".join(machines(compared.results)),
        "at once": f"{values['processes']} runs of {values['threads']} threads",
        "versions": ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v),
        "commit": ", ".join(commits(compared.results)),
        "seeds": ", ".join(map(str, values["seeds"])),
    }
    rows = [[escape(name), f'<td class="name">{escape(str(value))}</td>'] for name, value in facts.items()]
    return table(["", ""], rows, names=2)
