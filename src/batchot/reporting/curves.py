"""Curves of a run by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from batchot.reporting.style import LIGHT, Theme, new_figure, style_axes

if TYPE_CHECKING:
    from batchot.training.callbacks import Row

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
    """Draw one of the `curve_panels` as a figure of its own."""
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
