"""Figures of a comparison: measures by epoch and by second, trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from batchot.benchmark.compare import Result
from batchot.benchmark.summary import MEASURES, evaluated_epochs, interval_at, seconds_at
from batchot.reporting.theme import LIGHT, Theme, new_figure, style_axes

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
    results: Sequence[Result], measure: str, *, by_second: bool = False, theme: Theme = LIGHT
) -> Figure:
    """Draw a measure of all losses, with the band of the 95 % interval.

    Args:
        results: of the losses
        measure: "map", "accuracy" or "nn"
        by_second: against the time of training and not the epoch
        theme: colours

    Returns:
        The figure.
    """
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
