"""Precision against recall, the measures of each class, and the confusion matrix."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

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
        return (2.0 if row.map is None else row.map, 2.0 if row.accuracy is None else row.accuracy)

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
        label = f"{name}: mAP {100 * averages.map:.2f} %"
        axes.plot(100 * curve.recall, 100 * curve.precision, style, linewidth=2, color=colour, label=label)
    lowest = 100 * float(torch.minimum(scores.pr_curve.precision, scores.macro.pr_curve.precision).min())
    axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 100))
    axes.set(ylim=(0 if lowest < 60 else 10 * (lowest // 10) - 10, 101), title="precision against recall")
    axes.legend(loc="lower left")
    style_axes(axes, theme)
    return figure


_NUMBERED = 45  # classes up to which cells hold their counts
_MOST = 60  # classes that are shown


@dataclass(frozen=True)
class Confusion:
    """A class taken for another."""

    true: int
    predicted: int
    count: int
    of: int  # items of the true class


def most_confused(confusion: Tensor, k: int) -> list[Confusion]:
    sums = confusion.sum(1)
    wrong = confusion.clone().fill_diagonal_(0)
    found = [
        Confusion(i, j, int(wrong[i, j]), int(sums[i]))
        for i, j in wrong.nonzero().tolist()  # in the order of classes, which sorting keeps
    ]
    return sorted(found, key=lambda c: (-c.count, -c.count / c.of))[:k]


def shown_classes(confusion: Tensor) -> list[int]:
    """Give the classes of the table: all, or of very many the sixty with the most errors."""
    if len(confusion) <= _MOST:
        return list(range(len(confusion)))
    wrong = confusion.clone().fill_diagonal_(0)
    errors = wrong.sum(0) + wrong.sum(1)
    return errors.argsort(descending=True, stable=True)[:_MOST].sort().values.tolist()


def confusion_table(confusion: Tensor, classes: Sequence[str]) -> str:
    """Make the confusion matrix as an HTML table, its cells shaded by their share of the row."""
    chosen = shown_classes(confusion)
    shares = confusion.double() / confusion.sum(1, keepdim=True).clamp(min=1)
    names = [html.escape(classes[c]) for c in chosen]
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    numbered = len(chosen) <= _NUMBERED
    lines = []
    for i, name in zip(chosen, names, strict=True):
        cells = []
        for j, other in zip(chosen, names, strict=True):
            count = int(confusion[i, j])
            if count == 0:
                cells.append('<td class="d"></td>' if i == j else "<td></td>")
                continue
            share = float(shares[i, j])
            kind = "d" if i == j else "w"
            strong = " s" if share > 0.5 else ""
            shade = 15 + 85 * share  # a single error in a large class must still be seen
            told = f"{name}: {count} of {int(confusion[i].sum())}" + (
                " right" if i == j else f" taken for {other}"
            )
            cells.append(
                f'<td class="{kind}{strong}" style="--share:{shade:.0f}%" title="{told}">'
                f"{count if numbered else ''}</td>"
            )
        lines.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    size = "few" if len(chosen) <= 15 else "many" if numbered else "crowd"
    return (
        f'<table class="confusion {size}"><thead><tr><td></td>{head}</tr></thead>\n'
        f"<tbody>{chr(10).join(lines)}</tbody></table>"
    )


def confusion_view(text: str, confusion: Tensor, classes: Sequence[str], *, verb: str) -> str:
    """Show the confusion matrix, and its largest errors in words."""
    shown = len(shown_classes(confusion))
    part = "" if shown == len(classes) else f" Of {len(classes)} classes the {shown} with the most errors."
    words = "".join(
        f"<li><b>{html.escape(classes[c.true])}</b> {verb} <b>{html.escape(classes[c.predicted])}</b>: "
        f"{c.count} of {c.of} ({100 * c.count / c.of:.0f} %)</li>"
        for c in most_confused(confusion, 12)
    )
    told = f'<h3>Most confused</h3><ol class="words">{words}</ol>' if words else "<p>None was confused.</p>"
    matrix = confusion_table(confusion, classes)
    return f'<p>{text}{part}</p><div class="matrix"><div class="scroll">{matrix}</div><div>{told}</div></div>'
