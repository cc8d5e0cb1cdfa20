"""Sections of a report on queries that are looked for in a gallery of another kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape

import torch
from torch import Tensor

from batchot.evaluation import ClassMeans
from batchot.reporting.analysis import Analysis
from batchot.reporting.embedding import draw_shared_map
from batchot.reporting.measures import confusion_view, draw_precision_recall
from batchot.reporting.neighbours import Query, draw_found, nearest_of, one_of_each_class
from batchot.reporting.plan import BatchPlan, draw_heat_map, draw_shares, solve_items
from batchot.reporting.sections import map_view, mass_words, plan_cards, query_row, settings_words
from batchot.reporting.style import Thumbnails, bar_cell, in_plots, percent, table, themed_figure

_MEASURES = ("nn", "ft", "st", "e", "dcg", "map")
_HEADER = ("NN", "FT", "ST", "E", "DCG", "mAP")
_NAMED = 12  # classes that are named in a sentence


def measures_section(analysis: Analysis) -> str:
    """The measures over queries, over classes and of each class, and precision against recall."""
    material, scores, padded = analysis.material, analysis.retrieval, analysis.padded
    if scores is None or padded is None:
        return (
            f"<p>The {escape(material.queries)} and the {escape(material.targets)} have no class in common, so there "
            f"is nothing to find.</p>{_left_out(analysis)}"
        )
    lines = [
        [name, *(percent(getattr(averages, m)) for m in _MEASURES), percent(other.map)]
        for name, averages, other in (("micro", scores, padded), ("macro", scores.macro, padded.macro))
    ]
    averages = table(["mean", *_HEADER, "padded mAP"], lines, names=1)
    plot = themed_figure(lambda theme: draw_precision_recall(scores, theme), "precision against recall")
    n, m = len(material.query), len(material.sought)
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


def _left_out(analysis: Analysis) -> str:
    """Say which classes only one side has."""
    material, scores = analysis.material, analysis.retrieval
    out = ""
    if material.absent:
        n = len(material.query) if scores is None else scores.n_skipped
        who = escape(material.query_name if n == 1 else material.queries)
        out += (
            f"<p>{n:,} {who} of {_listed(material.absent)} {'has' if n == 1 else 'have'} nothing to find among the "
            f"{escape(material.targets)} and {'is' if n == 1 else 'are'} in no mean.</p>"
        )
    if material.distractors:
        n = int((~torch.isin(analysis.gallery_labels, analysis.labels)).sum())
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


def _class_table(means: ClassMeans, analysis: Analysis) -> str:
    material = analysis.material
    first = analysis.gallery_labels[analysis.first_found]  # (n,)
    order = means.map.nan_to_num(nan=2.0).argsort(stable=True).tolist()
    lines = []
    for i in order:
        label = int(means.labels[i])
        mine = first[analysis.labels == label]
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


def confusion_section(analysis: Analysis) -> str:
    """Which class the nearest item of the gallery has, for the queries of each class."""
    material = analysis.material
    found = analysis.gallery_labels[analysis.first_found]
    confusion, labels = _confusion(analysis.labels, found)
    classes = [material.classes[label] for label in labels]
    right = int((analysis.labels == found).sum())
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


_SHOWN = 8  # items found by a query
_OPEN = 10  # classes that are unfolded; of fewer pictures a reader sees more


def queries_of_class(average_precision: Tensor, items: Tensor, *, seed: int = 0) -> list[Query]:
    """Choose the best and the worst query of a class, and between them one drawn from the others."""
    ranked = items[average_precision[items].argsort(descending=True, stable=True)].tolist()
    if len(ranked) == 1:
        return [Query(ranked[0], "best")]
    between = ranked[1:-1]
    drawn = torch.randperm(len(between), generator=torch.Generator().manual_seed(seed))[:1].tolist()
    middle = [Query(between[i], "random") for i in drawn]
    return [Query(ranked[0], "best"), *middle, Query(ranked[-1], "worst")]


def retrieved_section(analysis: Analysis, queries: Thumbnails, gallery: Thumbnails) -> str:
    """Show of each class, worst first, its best, a random and its worst query, and the first that each found."""
    material, scores = analysis.material, analysis.retrieval
    if scores is None:
        return "<p>No query has anything to find.</p>"
    k = min(_SHOWN, len(material.sought))
    means = scores.per_class
    order = [i for i in means.map.nan_to_num(nan=2.0).argsort(stable=True).tolist() if means.n_queries[i] > 0]
    out = (
        f"<p>A {escape(material.query_name)}, then the {k} nearest of all {len(material.sought):,} "
        f"{escape(material.targets)}; those of another class are framed in red and crossed. AP is the average "
        "precision of the query over the whole gallery. Of each class, worst first: the best query, one drawn at "
        "random, the worst. Where a class has fewer than that to find, wrong ones end every row.</p>"
    )
    for place, i in enumerate(order):
        label, n, m = int(means.labels[i]), int(means.n_queries[i]), int(means.n_gallery[i])
        items = (analysis.labels == label).nonzero()[:, 0]
        asked = queries_of_class(scores.per_query.ap, items, seed=label)
        found = nearest_of(analysis.x[[a.item for a in asked]], analysis.gallery, k)
        rows = "".join(
            query_row(analysis, queries, gallery, one.item, row, one.kind)
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


def draw_retrieved(analysis: Analysis, *, title: str, rows: int = 16) -> bytes:
    """Draw one query of each class (of the first so many) and what it finds; wrong ones are marked."""
    material = analysis.material
    chosen = one_of_each_class(analysis.labels, rows)
    found = nearest_of(analysis.x[chosen], analysis.gallery, min(10, len(material.sought)))
    told = f"left: {material.query_name}; right of it: the nearest {material.targets}, wrong ones crossed"
    asked = (material.query.thumbnails, analysis.labels)
    sought = (material.sought.thumbnails, analysis.gallery_labels)
    return draw_found(asked, sought, chosen, found, material.classes, title=f"{title}\n{told}")


_PAIRS = 8
_SIZE = 32  # items of each modality: about the batch of the authors' program


def paired_items(
    query_labels: Tensor, gallery_labels: Tensor, *, size: int = _SIZE, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draw a batch of each modality with the same classes, as many of each as there are."""
    generator = torch.Generator().manual_seed(seed)
    shared = query_labels.unique()
    shared = shared[torch.isin(shared, gallery_labels)]
    classes = shared[torch.randperm(len(shared), generator=generator)][: max(1, size // 4)].sort().values
    each = max(1, size // max(1, len(classes)))
    drawn = []
    for labels in (query_labels, gallery_labels):
        order = torch.randperm(len(labels), generator=generator)
        parts = [order[labels[order] == label][:each].sort().values for label in classes]
        drawn.append(torch.cat(parts) if parts else order[:0])
    return drawn[0], drawn[1]


def plans_section(analysis: Analysis, queries: Thumbnails, gallery: Thumbnails) -> str:
    """Misplacement, plan and shares of the mass within both modalities and across; empty without the transport loss."""
    material = analysis.material
    settings = material.loss
    if settings is None:
        return ""
    asked, sought = paired_items(analysis.labels, analysis.gallery_labels)
    if len(asked) == 0:
        return "<p>There is no class in common, so no batch can be drawn.</p>"
    rows = (material.query.embeddings, analysis.labels, asked)
    columns = (material.sought.embeddings, analysis.gallery_labels, sought)
    classes = len(analysis.labels[asked].unique())
    out = (
        f"<p>One batch of {len(asked)} {escape(material.queries)} and {len(sought)} {escape(material.targets)} of the "
        f"same {classes} {'class' if classes == 1 else 'classes'}, drawn from the test items and sorted by class. "
        f"{settings_words(settings)}</p>"
    )
    both = f"{material.query_name} / {material.gallery_name}"
    for name, first, second in (
        (f"Within the {material.queries}", rows, None),
        (f"Within the {material.targets}", columns, None),
        (f"Across: {both}", rows, columns),
    ):
        if second is None and len(first[2]) < 2:
            out += f"<h3>{escape(name)}</h3><p>A batch of one item has no pairs.</p>"
            continue
        plan = solve_items(first, second, settings)
        out += _plan(plan, name, material.classes, material.targets if second is not None else "")
        if second is not None:
            cards = plan_cards(analysis, plan, queries, gallery, _PAIRS)
            out += f"<h3>Pairs of most mass across</h3>{cards}"
    return out


def _plan(plan: BatchPlan, name: str, classes: tuple[str, ...], columns: str) -> str:
    figures = in_plots(
        {
            f"{name}: misplacement": partial(draw_heat_map, plan, "M", classes, columns=columns),
            f"{name}: transport plan": partial(draw_heat_map, plan, "T", classes, columns=columns),
            f"{name}: shares of pairs and mass": partial(draw_shares, plan),
        }
    )
    return f"<h3>{escape(name)}</h3>{mass_words(plan)}{figures}"


def embedding_section(analysis: Analysis) -> str:
    """Both modalities in one plane, with a legend that any script can be read in."""
    material, plane = analysis.material, analysis.shared
    names = (material.queries, material.targets)
    plot = themed_figure(
        lambda theme: draw_shared_map(plane, material.classes, names, theme=theme), "map of both modalities"
    )
    n = int(plane.is_query.sum())
    text = (
        f"<p>Map by {plane.how} of {n:,} {escape(names[0])} (hollow) and {len(plane.points) - n:,} {escape(names[1])} "
        "(filled) together; a class has one colour and one shape in both, and its name stands at the median of its "
        f"{escape(names[0])}, where there is room. Where the two modalities lie apart, the networks tell them apart "
        "and not only the classes.</p>"
    )
    return map_view(text, plot, plane.asked, material.classes)
