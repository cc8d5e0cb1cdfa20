"""Curves of a run by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from batchot.training.callbacks import Row


def draw_curves(rows: Sequence[Row], title: str) -> Figure:
    """Draw loss, measures and, for a transport loss, the plan's mass on violated pairs against the epoch.

    Args:
        rows: of history.csv
        title: of the figure

    Returns:
        A figure of two or three panels.
    """
    has_plan = any(row.violated_mass is not None for row in rows)
    figure = Figure(figsize=(4.2 * (2 + has_plan), 3.4), layout="constrained")
    panels = figure.subplots(1, 2 + has_plan, squeeze=False)[0]
    marker = "o" if len(rows) < 30 else ""
    figure.suptitle(title)
    epochs = [row.epoch for row in rows]
    panels[0].plot(epochs, [row.loss for row in rows], marker=marker, markersize=3, color="tab:gray")
    panels[0].set(title="training loss", ylim=(0, None))
    tested = [row for row in rows if row.map is not None]
    at = [row.epoch for row in tested]
    for label, values in (
        ("mAP", [100 * (row.map or 0) for row in tested]),
        ("nearest neighbour", [100 * (row.nn or 0) for row in tested]),
        ("accuracy", [100 * (row.accuracy or 0) for row in tested]),
    ):
        last = f"{label}, {values[-1]:.2f} %" if values else label
        panels[1].plot(at, values, marker=marker, markersize=3, label=last)
    panels[1].set(title="test images", ylabel="%")
    panels[1].legend(loc="lower right")
    if has_plan:
        planned = [row for row in rows if row.violated_mass is not None]
        shares = [100 * (row.violated_mass or 0) for row in planned]
        panels[2].plot([row.epoch for row in planned], shares, marker=marker, markersize=3, color="tab:red")
        panels[2].set(title="mass of the plan on violated pairs", ylabel="%", ylim=(0, 102))
    for panel in panels:
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    return figure
