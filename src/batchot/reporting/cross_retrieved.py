"""The section of a cross-modal report that shows queries beside what they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import torch
from torch import Tensor

from batchot.evaluation import RetrievalScores
from batchot.reporting.cross_analysis import CrossAnalysis
from batchot.reporting.markup import Thumbnails
from batchot.reporting.neighbours import nearest_of
from batchot.reporting.sections import query_row
from batchot.reporting.sheet import Cell, draw_rows

_SHOWN = 8  # items found by a query
_OPEN = 10  # classes that are unfolded; of fewer pictures a reader sees more


@dataclass(frozen=True)
class Asked:
    """A query of a class, and why it is shown."""

    item: int
    kind: Literal["best", "random", "worst"]


def queries_of_class(average_precision: Tensor, items: Tensor, *, seed: int = 0) -> list[Asked]:
    """Choose the best and the worst query of a class, and between them one drawn from the others.

    Args:
        average_precision: AP of every query, (n,)
        items: indices of the queries of the class, (k,), at least one
        seed: of the draw

    Returns:
        At most three, none twice.

    >>> [asked.kind for asked in queries_of_class(torch.tensor([0.2, 0.9, 0.4]), torch.tensor([0, 1, 2]))]
    ['best', 'random', 'worst']
    """
    ranked = items[average_precision[items].argsort(descending=True, stable=True)].tolist()
    if len(ranked) == 1:
        return [Asked(ranked[0], "best")]
    between = ranked[1:-1]
    drawn = torch.randperm(len(between), generator=torch.Generator().manual_seed(seed))[:1].tolist()
    middle = [Asked(between[i], "random") for i in drawn]
    return [Asked(ranked[0], "best"), *middle, Asked(ranked[-1], "worst")]


def retrieved_section(analysis: CrossAnalysis, queries: Thumbnails, gallery: Thumbnails) -> str:
    """Show of each class, worst first, its best, a random and its worst query, and the first that each found."""
    material, scores = analysis.material, analysis.scores
    if scores is None:
        return "<p>No query has anything to find.</p>"
    k = min(_SHOWN, len(material.gallery))
    means = scores.per_class
    order = [i for i in means.map.nan_to_num(nan=2.0).argsort(stable=True).tolist() if means.n_queries[i] > 0]
    out = (
        f"<p>A {escape(material.query_name)}, then the {k} nearest of all {len(material.gallery):,} "
        f"{escape(material.targets)}; those of another class are framed in red and crossed. AP is the average "
        "precision of the query over the whole gallery. Of each class, worst first: the best query, one drawn at "
        "random, the worst. Where a class has fewer than that to find, wrong ones end every row.</p>"
    )
    for place, i in enumerate(order):
        label, n, m = int(means.labels[i]), int(means.n_queries[i]), int(means.n_gallery[i])
        items = (analysis.query_labels == label).nonzero()[:, 0]
        asked = queries_of_class(scores.per_query.ap, items, seed=label)
        found = nearest_of(analysis.queries[[a.item for a in asked]], analysis.gallery, k)
        rows = "".join(
            _row(analysis, scores, queries, gallery, one, row)
            for one, row in zip(asked, found.tolist(), strict=True)
        )
        told = (
            f"mAP {100 * float(means.map[i]):.1f} %, {n:,} {material.query_name if n == 1 else material.queries}, "
            f"{m:,} {material.gallery_name if m == 1 else material.targets} to find"
        )
        unfolded = " open" if place < _OPEN else ""
        out += (
            f'<details class="asked"{unfolded}><summary><b>{escape(material.classes[label])}</b> '
            f'<span class="muted">{escape(told)}</span></summary>{rows}</details>\n'
        )
    return out


def _row(
    analysis: CrossAnalysis,
    scores: RetrievalScores,
    queries: Thumbnails,
    gallery: Thumbnails,
    asked: Asked,
    found: Sequence[int],
) -> str:
    ap = f"AP {100 * float(scores.per_query.ap[asked.item]):.1f} %"
    shown = queries.figure(asked.item, f"{asked.kind} query, {ap}").replace(
        "</figcaption>", f"<span><b>{asked.kind}</b></span><span>{ap}</span></figcaption>"
    )
    wrong = analysis.gallery_labels[list(found)] != analysis.query_labels[asked.item]
    distances = [float((analysis.gallery[item] - analysis.queries[asked.item]).norm()) for item in found]
    return query_row(shown, gallery, found, distances, wrong.tolist())


def draw_retrieved(analysis: CrossAnalysis, *, title: str, rows: int = 16) -> bytes:
    """Draw one query of each class (of the first so many) and what it finds; wrong ones are marked.

    Args:
        analysis: of the material
        title: of the picture
        rows: at most so many queries

    Returns:
        A PNG file.
    """
    material = analysis.material
    order = torch.randperm(len(material.query), generator=torch.Generator().manual_seed(0))
    labels = analysis.query_labels
    chosen = torch.cat([order[labels[order] == label][:1] for label in labels.unique()[:rows]])  # (q,)
    found = nearest_of(analysis.queries[chosen], analysis.gallery, min(10, len(material.gallery)))
    sketches, shapes = material.query.thumbnails, material.gallery.thumbnails
    lines = [
        (
            material.classes[int(labels[query])],
            [Cell(sketches[query].numpy())]
            + [
                Cell(shapes[item].numpy(), wrong=bool(analysis.gallery_labels[item] != labels[query]))
                for item in row
            ],
        )
        for query, row in zip(chosen, found, strict=True)
    ]
    told = f"left: {material.query_name}; right of it: the nearest {material.targets}, wrong ones crossed"
    return draw_rows(lines, title=f"{title}\n{told}")
