"""Precision against recall, and the measures of each class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from batchot.evaluation import RetrievalScores
from batchot.reporting.analysis import Analysis
from batchot.reporting.style import LIGHT, Theme, new_figure, style_axes


@dataclass(frozen=True)
class ClassRow:
    """How one class fares; None where there is nothing to measure."""

    label: int
    count: int
    map: float | None  # mean AP of its items as queries
    nn: float | None
    accuracy: float | None  # recall of the class
    taken_for: tuple[int, int] | None  # the other class most often predicted, and how often


def class_rows(analysis: Analysis) -> list[ClassRow]:
    """Measure each class that occurs, worst first: by mAP, then by accuracy."""
    rows = []
    scores, classified = analysis.retrieval, analysis.classified
    for label, count in zip(*(v.tolist() for v in analysis.labels.unique(return_counts=True)), strict=True):
        mine = analysis.labels == label
        measured = scores is not None and count > 1
        taken_for = None
        if classified is not None:
            others = classified.confusion[label].clone()
            others[label] = 0
            if int(others.max()) > 0:
                taken_for = (int(others.argmax()), int(others.max()))
        rows.append(
            ClassRow(
                label,
                count,
                float(scores.per_query.ap[mine].mean()) if scores is not None and measured else None,
                float(scores.per_query.nn[mine].mean()) if scores is not None and measured else None,
                None if classified is None else float(classified.per_class[label]),
                taken_for,
            )
        )

    def worst_first(row: ClassRow) -> tuple[float, float]:
        return (
            2.0 if row.map is None else row.map,
            2.0 if row.accuracy is None else row.accuracy,
        )

    return sorted(rows, key=worst_first)


def draw_precision_recall(scores: RetrievalScores, theme: Theme = LIGHT) -> Figure:
    """Draw interpolated precision against recall, averaged over queries and over classes."""
    figure = new_figure(4.6, 3.5, theme)
    axes = figure.subplots()
    for name, averages, style, colour in (
        ("over queries (micro)", scores, "-", theme.series[0]),
        ("over classes (macro)", scores.macro, "--", theme.series[1]),
    ):
        curve = averages.pr_curve
        axes.plot(
            100 * curve.recall,
            100 * curve.precision,
            style,
            linewidth=2,
            color=colour,
            label=f"{name}: mAP {100 * averages.map:.2f} %",
        )
    lowest = 100 * float(torch.minimum(scores.pr_curve.precision, scores.macro.pr_curve.precision).min())
    axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 100))
    axes.set(ylim=(0 if lowest < 60 else 10 * (lowest // 10) - 10, 101), title="precision against recall")
    axes.legend(loc="lower left")
    style_axes(axes, theme)
    return figure
