"""The sections of a cross-modal report about how well the queries find their class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

from batchot.evaluation import ClassMeans
from batchot.reporting.confusion import confusion_view
from batchot.reporting.cross_analysis import CrossAnalysis
from batchot.reporting.markup import bar_cell, percent, table, themed_figure
from batchot.reporting.retrieval import draw_precision_recall

_MEASURES = ("nn", "ft", "st", "e", "dcg", "map")
_HEADER = ("NN", "FT", "ST", "E", "DCG", "mAP")
_NAMED = 12  # classes that are named in a sentence


def measures_section(analysis: CrossAnalysis) -> str:
    """The measures over queries, over classes and of each class, and precision against recall."""
    material, scores, padded = analysis.material, analysis.scores, analysis.padded_scores
    if scores is None or padded is None:
        return (
            f"<p>The {escape(material.queries)} and the {escape(material.targets)} have no class in common, so there "
            f"is nothing to find.</p>{_left_out(analysis)}"
        )
    lines = [
        [name, *(percent(getattr(averages, m)) for m in _MEASURES), percent(other.map)]
        for name, averages, other in (
            ("micro", scores, padded),
            ("macro", scores.macro, padded.macro),
        )
    ]
    averages = table(["mean", *_HEADER, "padded mAP"], lines, names=1)
    plot = themed_figure(lambda theme: draw_precision_recall(scores, theme), "precision against recall")
    n, m = len(material.query), len(material.gallery)
    return (
        f"<p>Each of {n:,} {escape(material.queries)} is looked for among all {m:,} {escape(material.targets)}. "
        "Measures in %, as a mean over queries (micro) and over classes (macro); E is F1 over the first 32, higher is "
        "better. Padded mAP is that of SHREC'13's "
        "evaluation code, which fills the precisions of every query up with zeros to the size of the largest class; "
        "it is not to be compared with mAP. The curve is interpolated: the best precision at this recall or a higher "
        f"one.</p>"
        f'<div class="beside"><div class="plots">{plot}</div><div>{averages}{_left_out(analysis)}</div></div>'
        f"<h3>By class, worst first</h3>{_class_table(scores.per_class, analysis)}"
    )


def _left_out(analysis: CrossAnalysis) -> str:
    """Say which classes only one side has."""
    material, scores = analysis.material, analysis.scores
    out = ""
    if material.absent:
        n = len(material.query) if scores is None else scores.n_skipped
        who = escape(material.query_name if n == 1 else material.queries)
        out += (
            f"<p>{n:,} {who} of {_listed(material.absent)} {'has' if n == 1 else 'have'} nothing to find among the "
            f"{escape(material.targets)} and {'is' if n == 1 else 'are'} in no mean.</p>"
        )
    if material.distractors:
        n = int((~torch.isin(analysis.gallery_labels, analysis.query_labels)).sum())
        who = escape(material.gallery_name if n == 1 else material.targets)
        out += (
            f"<p>{n:,} {who} of {_listed(material.distractors)} {'is' if n == 1 else 'are'} wrong for every "
            f"{escape(material.query_name)} (distractors).</p>"
        )
    return out


def _listed(names: Sequence[str]) -> str:
    """Name classes as HTML: "2 classes (hat, sofa)"."""
    shown = ", ".join(escape(name) for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'} ({shown})"


def _class_table(means: ClassMeans, analysis: CrossAnalysis) -> str:
    material = analysis.material
    first = analysis.gallery_labels[analysis.first_found]  # (n,)
    order = means.map.nan_to_num(nan=2.0).argsort(stable=True).tolist()
    lines = []
    for i in order:
        label = int(means.labels[i])
        mine = first[analysis.query_labels == label]
        wrong = mine[mine != label]
        instead = ""
        if len(wrong) and int(means.n_gallery[i]):
            common = int(wrong.mode().values)
            instead = f"{escape(material.classes[common])} ({int((wrong == common).sum())})"
        values = [float(getattr(means, m)[i]) for m in _MEASURES]
        lines.append(
            [
                escape(material.classes[label]),
                str(len(mine)),
                str(int(means.n_gallery[i])),
                *(bar_cell(None if value != value else value) for value in values),
                f'<td class="name">{instead}</td>',
            ]
        )
    header = ["class", material.queries, material.targets, *_HEADER, "first found instead"]
    return table(header, lines, names=1)


def confusion_section(analysis: CrossAnalysis) -> str:
    """Which class the nearest item of the gallery has, for the queries of each class."""
    material = analysis.material
    found = analysis.gallery_labels[analysis.first_found]
    confusion, labels = _confusion(analysis.query_labels, found)
    classes = [material.classes[label] for label in labels]
    right = int((analysis.query_labels == found).sum())
    n = len(found)
    text = (
        f"Row: class of the {escape(material.query_name)}; column: class of the {escape(material.gallery_name)} "
        f"that is found first; a cell is shaded by its share of the row. {right:,} of {n:,} are right "
        f"({percent(right / n)}\u00a0%). Classes that are neither looked for nor found are left out."
    )
    return confusion_view(text, confusion, classes, verb="finds")


def _confusion(asked: Tensor, found: Tensor) -> tuple[Tensor, list[int]]:
    """Count pairs of classes, (c, c), over the classes that occur, whose labels are returned too."""
    labels, places = torch.cat([asked, found]).unique(return_inverse=True)
    c = len(labels)
    counts = torch.bincount(places[: len(asked)] * c + places[len(asked) :], minlength=c * c)
    return counts.reshape(c, c), labels.tolist()
