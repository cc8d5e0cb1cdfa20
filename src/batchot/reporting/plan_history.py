"""What the plan did over the training: histograms of D and shares of the mass, from plan.csv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from batchot.reporting.style import LIGHT, Theme, new_figure, style_axes, themed_figure
from batchot.training.plan_history import PARTS, histogram_of

if TYPE_CHECKING:
    from batchot.training.plan_history import PlanRow

_TITLES = {
    "positive_pairs": "positive pairs",
    "negative_pairs": "negative pairs",
    "positive_mass": "mass on positive pairs",
    "negative_mass": "mass on negative pairs",
}


def plan_history_section(rows: Sequence[PlanRow]) -> str:
    """Figures of plan.csv with what they mean; nothing for a run without a plan."""
    if not rows:
        return ""
    drawn: tuple[tuple[str, Callable[[Theme], Figure]], ...] = (
        ("pairs and mass by ground distance", partial(draw_histograms, rows)),
        ("shares of the mass", partial(draw_mass_shares, rows)),
        ("effective pairs", partial(draw_effective_pairs, rows)),
        ("gradient of a pair", partial(draw_gradients, rows)),
    )
    figures = "".join(themed_figure(draw, name) for name, draw in drawn)
    return (
        f'<div class="plots">{figures}</div><p class="muted">Single batches at the steps 1, 2, 5, 10, 20, ... and at '
        "each epoch's end, of training samples as they are augmented. D = exp(-gamma M) is 1 for a pair that is "
        "placed well and close to 0 for a hard one; where the mass lies lower than the pairs, the plan "
        "seeks the hard ones. Without a plan the shares of mass would equal those of the pairs.</p>"
    )


def draw_histograms(rows: Sequence[PlanRow], theme: Theme = LIGHT) -> Figure:
    """Draw the shares of pairs and mass by D (upwards) and step (to the right), in four panels."""
    figure = new_figure(6.4, 4.8, theme)
    grids = {part: np.array([histogram_of(row, part) for row in rows]).T for part in PARTS}
    for axes, part in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, PARTS, strict=True):
        # shares of 1e-4 and of 1 are both told apart
        shown = np.log10(np.maximum(grids[part], 1e-4))
        image = axes.imshow(
            shown, origin="lower", aspect="auto", cmap="viridis", vmin=-4, vmax=0, extent=(0, len(rows), 0, 1)
        )
        axes.set_title(_TITLES[part])
        places = range(0, len(rows), max(1, len(rows) // 6))
        axes.set_xticks([k + 0.5 for k in places], [f"{rows[k]['step'] or 0:.0f}" for k in places])
        style_axes(axes, theme, grid=False)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("D", color=theme.muted)
        if axes.get_subplotspec().is_last_row():
            axes.set_xlabel("step", color=theme.muted)
    bar = figure.colorbar(image, ax=figure.axes, ticks=[-4, -3, -2, -1, 0], shrink=0.8)
    bar.ax.set_yticklabels(["0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    bar.ax.tick_params(colors=theme.muted, labelsize=8)
    bar.outline.set_edgecolor(theme.grid)
    return figure


def _lines(
    rows: Sequence[PlanRow],
    columns: dict[str, Callable[[PlanRow], float | None]],
    title: str,
    theme: Theme,
    unit: str,
) -> Figure:
    figure = new_figure(4.6, 3.3, theme)
    axes: Axes = figure.subplots()
    for index, (name, value) in enumerate(columns.items()):
        points = [(row["step"], v) for row in rows if (v := value(row)) is not None]
        colour, dash = theme.series[index // 2], ("-", "--")[index % 2]
        axes.plot(
            [x or 0 for x, _ in points],
            [y for _, y in points],
            dash,
            marker=".",
            color=colour,
            label=name,
        )
    axes.set(title=title, xlabel="step", ylabel=unit, xscale="log")
    axes.legend(fontsize=8)
    style_axes(axes, theme)
    return figure


def draw_mass_shares(rows: Sequence[PlanRow], theme: Theme = LIGHT) -> Figure:
    """Draw the share of the mass on violated and on positive pairs, and the shares of these pairs."""

    def share(name: str) -> Callable[[PlanRow], float | None]:
        return lambda row: None if row[name] is None else 100 * (row[name] or 0.0)

    columns = {
        "mass on violated pairs": share("violated_mass"),
        "violated pairs": share("violated_pairs"),
        "mass on positive pairs": share("positive_mass"),
        "positive pairs": share("positive_pairs"),
    }
    return _lines(rows, columns, "where the mass lies", theme, "%")


def draw_effective_pairs(rows: Sequence[PlanRow], theme: Theme = LIGHT) -> Figure:
    """Draw exp(H(T)) as a share of the pairs that may have mass."""

    def effective(row: PlanRow) -> float | None:
        return 100 * (row["effective_pairs"] or 0.0) / max(1.0, row["allowed_pairs"] or 1.0)

    return _lines(rows, {"effective of all pairs": effective}, "effective pairs", theme, "%")


def draw_gradients(rows: Sequence[PlanRow], theme: Theme = LIGHT) -> Figure:
    """Draw the mean norm of the gradient of a pair, of positive and of negative pairs."""

    def part(positive: bool) -> Callable[[PlanRow], float | None]:
        def value(row: PlanRow) -> float | None:
            gradient, share, pairs = row["gradient"], row["positive_gradient"], row["positive_pairs"]
            if gradient is None or share is None or pairs is None:
                return None
            of, among = (share, pairs) if positive else (1 - share, 1 - pairs)
            return gradient * of / among if among > 0 else None

        return value

    columns = {
        "a positive pair": part(True),
        "a negative pair": part(False),
        "all pairs": lambda row: row["gradient"],
    }
    figure = _lines(rows, columns, "norm of the gradient, mean", theme, "")
    figure.axes[0].set_yscale("symlog", linthresh=1e-7)
    figure.axes[0].set_ylim(bottom=0)  # a norm is never negative
    return figure
