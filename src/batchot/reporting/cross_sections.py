"""Sections of a cross-modal report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from batchot.evaluation import ClassMeans, RetrievalScores, retrieval_scores
from batchot.reporting.confusion import confusion_view
from batchot.reporting.cross_material import CrossModalMaterial
from batchot.reporting.embedding import class_mark, embed_in_plane
from batchot.reporting.neighbours import Pair, nearest_of
from batchot.reporting.plan import (
    BatchPlan,
    draw_heat_map,
    draw_shares,
    heaviest_pairs,
    solve_items,
)
from batchot.reporting.retrieval import draw_precision_recall
from batchot.reporting.sections import mass_words, plan_card, query_row, settings_words
from batchot.reporting.sheet import Cell, draw_rows
from batchot.reporting.style import (
    LIGHT,
    Theme,
    Thumbnails,
    bar_cell,
    figure_text,
    new_figure,
    percent,
    style_axes,
    table,
    themed_figure,
)


@dataclass(frozen=True, eq=False)
class CrossAnalysis:
    """Measures of a cross-modal report's material; every property is computed when it is first asked for."""

    material: CrossModalMaterial

    @cached_property
    def queries(self) -> Tensor:
        """The embeddings of the queries as they are compared, by Euclidean distance, (n, d) float32."""
        return self._compared(self.material.query.embeddings)

    @cached_property
    def gallery(self) -> Tensor:
        """The embeddings of the gallery as they are compared, (m, d) float32."""
        return self._compared(self.material.gallery.embeddings)

    @cached_property
    def query_labels(self) -> Tensor:
        """The labels of the queries, (n,)."""
        return self.material.query.labels.cpu()

    @cached_property
    def gallery_labels(self) -> Tensor:
        """The labels of the gallery, (m,)."""
        return self.material.gallery.labels.cpu()

    @cached_property
    def scores(self) -> RetrievalScores | None:
        """Scores of every query against the whole gallery; None where they have no class in common."""
        return self._scores(padded=False)

    @cached_property
    def padded_scores(self) -> RetrievalScores | None:
        """The same with the average precision of SHREC'13's evaluation code."""
        return self._scores(padded=True)

    @cached_property
    def first_found(self) -> Tensor:
        """The nearest item of the gallery to each query, (n,)."""
        return nearest_of(self.queries, self.gallery, 1)[:, 0]

    @cached_property
    def plane(self) -> SharedMap:
        """Both modalities laid out in one plane; of very many a part, as t-SNE takes seconds a thousand."""
        return lay_out_both(self.queries, self.query_labels, self.gallery, self.gallery_labels)

    def _compared(self, embeddings: Tensor) -> Tensor:
        x = embeddings.detach().cpu().float()
        return torch.nn.functional.normalize(x) if self.material.normalized else x

    def _scores(self, *, padded: bool) -> RetrievalScores | None:
        if not bool(torch.isin(self.query_labels, self.gallery_labels).any()):
            return None
        return retrieval_scores(
            self.queries,
            self.query_labels,
            self.gallery,
            self.gallery_labels,
            ap_convention="shrec13" if padded else "relevant",
        )


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


_SHOWN = 8  # items found by a query
_OPEN = 10  # classes that are unfolded; of fewer pictures a reader sees more


@dataclass(frozen=True)
class Asked:
    """A query of a class, and why it is shown."""

    item: int
    kind: Literal["best", "random", "worst"]


def queries_of_class(average_precision: Tensor, items: Tensor, *, seed: int = 0) -> list[Asked]:
    """Choose the best and the worst query of a class, and between them one drawn from the others."""
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
    """Draw one query of each class (of the first so many) and what it finds; wrong ones are marked."""
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


def plans_section(analysis: CrossAnalysis, queries: Thumbnails, gallery: Thumbnails) -> str:
    """Misplacement, plan and shares of the mass within both modalities and across; empty without the transport loss."""
    material = analysis.material
    settings = material.loss
    if settings is None:
        return ""
    asked, sought = paired_items(analysis.query_labels, analysis.gallery_labels)
    if len(asked) == 0:
        return "<p>There is no class in common, so no batch can be drawn.</p>"
    rows = (material.query.embeddings, analysis.query_labels, asked)
    columns = (material.gallery.embeddings, analysis.gallery_labels, sought)
    classes = len(analysis.query_labels[asked].unique())
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
            out += _heaviest(analysis, plan, queries, gallery)
    return out


def _plan(plan: BatchPlan, name: str, classes: tuple[str, ...], columns: str) -> str:
    parts = (
        ("misplacement", partial(draw_heat_map, plan, "M", classes, columns=columns)),
        ("transport plan", partial(draw_heat_map, plan, "T", classes, columns=columns)),
        ("shares of pairs and mass", partial(draw_shares, plan)),
    )
    figures = "".join(themed_figure(draw, f"{name}: {what}") for what, draw in parts)
    return f'<h3>{escape(name)}</h3>{mass_words(plan)}<div class="plots">{figures}</div>'


def _heaviest(analysis: CrossAnalysis, plan: BatchPlan, queries: Thumbnails, gallery: Thumbnails) -> str:
    assert plan.column_items is not None and plan.column_labels is not None
    cards = ""
    for i, j in heaviest_pairs(plan, _PAIRS):
        first, second = int(plan.items[i]), int(plan.column_items[j])
        distance = float((analysis.queries[first] - analysis.gallery[second]).norm())
        positive = bool(plan.labels[i] == plan.column_labels[j])
        mass = float(plan.T[i, j]) * plan.n_pairs
        cards += plan_card(queries, gallery, Pair(first, second, distance), mass, positive=positive)
    return f'<h3>Pairs of most mass across</h3><div class="pairs">{cards}</div>'


@dataclass(frozen=True, eq=False)
class SharedMap:
    """Queries and items of the gallery as points of one plane."""

    points: np.ndarray  # (k, 2)
    labels: np.ndarray  # (k,)
    is_query: np.ndarray  # (k,) bool
    asked: tuple[int, ...]  # the labels that queries have, drawn or not
    how: str  # "t-SNE" or what stands in for it


def lay_out_both(
    queries: Tensor,
    query_labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    *,
    limit: int = 700,
    seed: int = 0,
) -> SharedMap:
    """Lay the embeddings of two modalities out in one plane by t-SNE."""
    generator = torch.Generator().manual_seed(seed)
    some = [torch.randperm(len(x), generator=generator)[:limit] for x in (queries, gallery)]
    x = torch.cat([queries[some[0]], gallery[some[1]]])  # (k, d)
    labels = torch.cat([query_labels[some[0]], gallery_labels[some[1]]])
    # the labels of this map say where in x each of its points was
    plane = embed_in_plane(x, torch.arange(len(x)), limit=len(x), seed=seed)
    return SharedMap(
        points=plane.points,
        labels=labels.numpy()[plane.labels],
        is_query=plane.labels < len(some[0]),
        asked=tuple(query_labels.unique().tolist()),
        how=plane.how,
    )


def draw_shared_map(
    plane: SharedMap,
    classes: Sequence[str],
    names: tuple[str, str],
    *,
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw both modalities: hollow queries and filled items of the gallery, in the colour and shape of the class."""
    figure = new_figure(7.6, 6.4, theme)
    axes = figure.subplots()
    other = ~np.isin(plane.labels, plane.asked)
    size = 13 if len(plane.points) > 500 else 24
    if other.any():
        axes.scatter(
            plane.points[other, 0],
            plane.points[other, 1],
            s=size / 2,
            color=theme.muted,
            alpha=0.45,
            linewidths=0,
        )
    for label in plane.asked:
        marker, colour = class_mark(label, theme)
        mine = plane.labels == label
        found = plane.points[mine & ~plane.is_query]
        sought = plane.points[mine & plane.is_query]
        edge = theme.background  # parts filled marks that lie on each other
        axes.scatter(
            found[:, 0],
            found[:, 1],
            s=2.4 * size,
            color=colour,
            marker=marker,
            edgecolors=edge,
            linewidths=0.5,
        )
        axes.scatter(
            sought[:, 0],
            sought[:, 1],
            s=1.4 * size,
            facecolors="none",
            marker=marker,
            edgecolors=colour,
            linewidths=0.9,
        )
    for label, place in _named(plane):
        halo = [withStroke(linewidth=2.4, foreground=theme.background)]
        shown = figure_text(classes[label], f"class {label}")
        axes.annotate(
            shown, (place[0], place[1]), fontsize=8, color=theme.ink, ha="center", path_effects=halo
        )
    marks = [
        Line2D([], [], linestyle="", marker="o", color=theme.ink, markerfacecolor="none", label=names[0]),
        Line2D([], [], linestyle="", marker="o", color=theme.ink, label=names[1]),
    ]
    if other.any():
        told = f"{names[1]} of other classes"
        marks.append(Line2D([], [], linestyle="", marker="o", markersize=3, color=theme.muted, label=told))
    axes.set(xticks=[], yticks=[], title=title.replace("$", "\\$"))
    axes.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False)
    style_axes(axes, theme, grid=False)
    axes.spines[:].set_visible(False)
    return figure


def _named(plane: SharedMap) -> list[tuple[int, np.ndarray]]:
    """Give the classes whose names are written, and where; of names that would lie on each other the first."""
    width, height = np.ptp(plane.points, axis=0)
    named: list[tuple[int, np.ndarray]] = []
    for label in plane.asked:
        mine = plane.points[(plane.labels == label) & plane.is_query]
        if len(mine) == 0:
            continue
        # at the item in the middle, as the mean of a class in two parts lies among others
        place = mine[np.abs(mine - np.median(mine, axis=0)).sum(1).argmin()]
        apart = (abs(place - other) > (0.14 * width, 0.03 * height) for _, other in named)
        if all(far.any() for far in apart):
            named.append((label, place))
    return named
