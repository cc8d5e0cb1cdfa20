"""Curves of a run by epoch, and what its plan did over the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from batchot.reporting.style import LIGHT, Theme, in_plots, new_figure, style_axes
from batchot.training.losses import PARTS, histogram_of

if TYPE_CHECKING:
    from batchot.training.callbacks import Row
    from batchot.training.losses import PlanRow

Panel = Callable[[Axes, Theme], None]


def draw_curves(rows: Sequence[Row], title: str, theme: Theme = LIGHT) -> Figure:
    """Draw loss, measures and, for a transport loss, the plan's mass on violated pairs against the epoch."""
    panels = list(curve_panels(rows).values())
    figure = new_figure(4.2 * len(panels), 3.4, theme)
    figure.suptitle(title.replace("$", "\\$"), color=theme.ink)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes, theme)
    return figure


def draw_panel(panel: Panel, theme: Theme = LIGHT) -> Figure:
    figure = new_figure(4.4, 3.1, theme)
    panel(figure.subplots(), theme)
    return figure


def curve_panels(rows: Sequence[Row]) -> dict[str, Panel]:
    """Give what can be drawn of these rows: the loss, the measures and, where there is one, the plan."""
    marker = "o" if len(rows) < 30 else ""

    def finish(axes: Axes, theme: Theme) -> None:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
        style_axes(axes, theme)

    def loss(axes: Axes, theme: Theme) -> None:
        epochs = [row.epoch for row in rows]
        axes.plot(epochs, [row.loss for row in rows], marker=marker, markersize=3.5, color=theme.ink)
        axes.set(title="training loss", ylim=(0, None))
        finish(axes, theme)

    def measures(axes: Axes, theme: Theme) -> None:
        tested = [row for row in rows if row.map is not None]
        at = [row.epoch for row in tested]
        for label, found, shape, colour in (
            ("mAP", [row.map for row in tested], "o", theme.series[0]),
            ("nearest neighbour", [row.nn for row in tested], "s", theme.series[1]),
            ("accuracy", [row.accuracy for row in tested], "^", theme.series[2]),
        ):
            if tested and all(value is None for value in found):
                continue  # retrieval from one modality to another has no accuracy
            values = [100 * (value or 0) for value in found]
            last = f"{label}, {values[-1]:.2f} %" if values else label
            axes.plot(at, values, marker=marker and shape, markersize=3.5, label=last, color=colour)
        axes.set(title="test set", ylabel="%")
        axes.legend(loc="lower right")
        finish(axes, theme)

    def violated_mass(axes: Axes, theme: Theme) -> None:
        planned = [row for row in rows if row.violated_mass is not None]
        shares = [100 * (row.violated_mass or 0) for row in planned]
        axes.plot(
            [row.epoch for row in planned], shares, marker=marker, markersize=3.5, color=theme.series[1]
        )
        axes.set(title="mass of the plan on violated pairs", ylabel="%", ylim=(0, 102))
        finish(axes, theme)

    has_plan = any(row.violated_mass is not None for row in rows)
    panels: dict[str, Panel] = {"training loss": loss, "measures": measures}
    return panels | {"mass on violated pairs": violated_mass} if has_plan else panels


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
    drawn = {
        "pairs and mass by ground distance": draw_histograms,
        "shares of the mass": draw_mass_shares,
        "effective pairs": draw_effective_pairs,
        "gradient of a pair": draw_gradients,
    }
    figures = in_plots({name: partial(draw, rows) for name, draw in drawn.items()})
    return (
        f'{figures}<p class="muted">Single batches at the steps 1, 2, 5, 10, 20, ... and at '
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
            [x or 0 for x, _ in points], [y for _, y in points], dash, marker=".", color=colour, label=name
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
