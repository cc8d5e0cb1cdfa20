"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from batchot.benchmark.compare import Compared, Result
from batchot.benchmark.results import (
    MEASURES,
    chosen_text,
    commits,
    diverged_notes,
    evaluated_epochs,
    interval_at,
    lead,
    lead_text,
    machines,
    measured_cells,
    seconds_at,
    shown_epochs,
)
from batchot.reporting.page import assemble_page, headline_cards
from batchot.reporting.style import LIGHT, Theme, in_plots, new_figure, style_axes, table, themed_figure

_DASHES = ("-", "--", ":", "-.")
_MARKERS = "osD^vPX*"


def look(index: int, theme: Theme) -> dict[str, Any]:
    """Give colour, dash and marker of the loss of a number, so that no two of thirty look alike."""
    n = len(theme.series)
    return {
        "color": theme.series[index % n],
        "linestyle": _DASHES[index // n % len(_DASHES)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linewidth": 2.4 if index == 0 else 1.3,
        "zorder": 3 if index == 0 else 2,
    }


def draw_measure(
    results: Sequence[Result], measure: str, theme: Theme = LIGHT, *, by_second: bool = False
) -> Figure:
    """Draw a measure of all losses, with the band of the 95 % interval."""
    figure = new_figure(5.4, 4.4, theme)
    axes: Axes = figure.subplots()
    lowest: list[float] = []
    for index, result in enumerate(results):
        points = []
        for epoch in evaluated_epochs([result]):
            interval = interval_at(result, epoch, measure)
            at = seconds_at(result, epoch) if by_second else float(epoch)
            if interval is not None and at is not None:
                points.append((at, interval))
        if not points:
            continue
        style = look(index, theme)
        places = [x for x, _ in points]
        axes.plot(
            places, [100 * i.mean for _, i in points], markersize=3.5, label=result.contender.name, **style
        )
        low = [max(0.0, 100 * i.low) for _, i in points]
        high = [min(100.0, 100 * i.high) for _, i in points]
        axes.fill_between(places, low, high, color=style["color"], alpha=0.14, linewidth=0)
        lowest.append(100 * points[0][1].mean)
    axes.set(
        title=f"{MEASURES[measure]} on the test set",
        xlabel="seconds of training" if by_second else "epoch",
        ylabel="%",
    )
    if not by_second:
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
    if lowest:  # the last ones would press the others together
        ranked = sorted(lowest)
        bottom = ranked[len(ranked) // 4]
        axes.set_ylim(bottom=max(0.0, bottom - 0.25 * max(100 - bottom, 1e-6)))
    style_axes(axes, theme)
    _legend(figure, theme)
    return figure


def _legend(figure: Figure, theme: Theme) -> None:
    """Put the names of the losses below, where they hide no curve."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, fontsize=8, frameon=False, labelcolor=theme.ink
    )


def draw_trials(results: Sequence[Result], theme: Theme = LIGHT) -> Figure:
    """Draw what each trial gave on the validation part, and the best so far."""
    figure = new_figure(5.4, 4.4, theme)
    axes: Axes = figure.subplots()
    for index, result in enumerate(results):
        best, curve = 0.0, []
        for trial in result.trials:
            best = max(best, trial.score or 0.0)
            curve.append(100 * best)
        numbers = [trial.number + 1 for trial in result.trials]
        style = look(index, theme)
        axes.plot(numbers, curve, markersize=3.5, label=result.contender.name, **style)
        scored = [(t.number + 1, 100 * t.score) for t in result.trials if t.score is not None]
        axes.scatter([x for x, _ in scored], [y for _, y in scored], s=6, color=style["color"], alpha=0.5)
    axes.set(title="best mAP on the validation part so far", xlabel="trial", ylabel="%")
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
    style_axes(axes, theme)
    _legend(figure, theme)
    return figure


def make_comparison_page(compared: Compared, values: dict[str, Any]) -> str:
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
    rows = [[escape(r.contender.name), *measured_cells(r, shown, goal)] for r in results]
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
    plots = in_plots(
        {
            f"{name} by {unit}": partial(draw_measure, results, measure, by_second=unit == "second")
            for measure, name in MEASURES.items()
            for unit in ("epoch", "second")
        }
    )
    return f'{plots}<p class="muted">Bands: 95 % intervals of the means.</p>'


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
