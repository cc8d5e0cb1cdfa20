"""Sections of the report of a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import torch

from batchot.losses import BatchOTSettings
from batchot.reporting.analysis import Analysis
from batchot.reporting.curves import curve_panels, draw_panel
from batchot.reporting.embedding import class_symbol, draw_plane_map
from batchot.reporting.measures import class_rows, confusion_view, draw_precision_recall
from batchot.reporting.neighbours import Pair, choose_queries, hardest_pairs, nearest
from batchot.reporting.plan import (
    BatchPlan,
    draw_heat_map,
    draw_mass_histogram,
    draw_shares,
    heaviest_pairs,
    mass_shares,
    solve_batch,
)
from batchot.reporting.style import DARK, LIGHT, Thumbnails, bar_cell, in_plots, percent, table, themed_figure

if TYPE_CHECKING:
    from batchot.training.callbacks import Row

_PAIRS_SHOWN = 10


def plan_section(analysis: Analysis, thumbnails: Thumbnails) -> str:
    """M, D and T of one batch of test items, where the mass lies, and the pairs that have most of it."""
    material = analysis.material
    settings = material.loss or BatchOTSettings()
    plan = solve_batch(material.embeddings, analysis.labels, settings)
    if plan is None:
        return "<p>A batch of one item has no pairs.</p>"
    figures = in_plots(
        {
            "misplacement": partial(draw_heat_map, plan, "M", material.classes),
            "ground distance": partial(draw_heat_map, plan, "D", material.classes),
            "transport plan": partial(draw_heat_map, plan, "T", material.classes),
            "shares of pairs and mass": partial(draw_shares, plan),
            "mass of pairs": partial(draw_mass_histogram, plan),
        }
    )
    cards = plan_cards(analysis, plan, thumbnails, thumbnails, _PAIRS_SHOWN)
    return f"{_words(analysis, plan)}{figures}<h3>Pairs of most mass</h3>{cards}"


def _words(analysis: Analysis, plan: BatchPlan) -> str:
    b, classes = len(plan.items), len(plan.labels.unique())
    told = settings_words(plan.settings, trained=analysis.material.loss is not None)
    return (
        f"<p>A batch of {b} test items of {classes} {'class' if classes == 1 else 'classes'} against itself, "
        f"{plan.n_pairs:,} ordered pairs, sorted by class. {told}</p>{mass_words(plan)}"
    )


def settings_words(settings: BatchOTSettings, *, trained: bool = True) -> str:
    """Say by which settings a plan is solved, and what it seeks."""
    s = settings
    if not trained:
        whose = "The run was trained with another loss; this is what the transport loss would see with its defaults:"
    elif s.plan == "uniform":
        whose = "The run was trained with the uniform plan:"
    else:
        whose = "Settings of the run:"
    return (
        f"{whose} margin {s.margin:g}, positive margin {s.pos_margin:g}, &gamma; {s.gamma:g}, &lambda; {s.lam:g}"
        f"{', normalised embeddings' if s.normalize else ''}. A positive pair is badly placed by its distance, "
        "a negative pair by how far it is inside the margin; the plan seeks what is badly placed."
    )


def mass_words(plan: BatchPlan) -> str:
    """Say in a paragraph where the mass of a plan lies."""
    shares = {name: mass for name, _, mass in mass_shares(plan)}
    violated = shares["positive"] + shares["negative, violated"]
    return (
        f"<p><b>{plan.effective_pairs:,.0f}</b> effective pairs (exp of the plan's entropy) of "
        f"{plan.n_pairs:,}; <b>{100 * violated:.1f} %</b> of the mass on positive pairs and negative pairs "
        f"inside the margin; {plan.iterations} iterations, marginal error {plan.marginal_error:.1e}.</p>"
    )


def plan_cards(analysis: Analysis, plan: BatchPlan, rows: Thumbnails, columns: Thumbnails, k: int) -> str:
    itself = plan.column_items is None
    items = plan.items if plan.column_items is None else plan.column_items
    labels = plan.labels if plan.column_labels is None else plan.column_labels
    cards = ""
    for i, j in heaviest_pairs(plan, k):
        first, second = int(plan.items[i]), int(items[j])
        mass = (float(plan.T[i, j] + plan.T[j, i]) / 2 if itself else float(plan.T[i, j])) * plan.n_pairs
        distance = float((analysis.x[first] - analysis.gallery[second]).norm())
        kind = "positive" if bool(plan.labels[i] == labels[j]) else "negative"
        told = f"<b>{mass:.2f}</b> &times; uniform<br>{kind}, distance {distance:.3f}"
        cards += pair_card(rows, columns, Pair(first, second, distance), told)
    return f'<div class="pairs">{cards}</div>'


_NEIGHBOURS = 10
_PAIRS = 8


def curves_section(rows: Sequence[Row]) -> str:
    """Curves by epoch, and the same as a table, without the columns that are empty."""
    if not rows:
        return "<p>There is no history of this run.</p>"
    plots = in_plots({name: partial(draw_panel, panel) for name, panel in curve_panels(rows).items()})
    measures = {name: name.lower() for name in ("mAP", "NN", "FT", "ST", "E", "DCG", "accuracy")}
    columns = {
        "epoch": [str(row.epoch) for row in rows],
        "loss": [f"{row.loss:.4f}" for row in rows],
        **{name: [percent(getattr(row, field)) for row in rows] for name, field in measures.items()},
        "by": [escape(row.accuracy_by or "") for row in rows],
        "seconds": [f"{row.seconds:.0f}" for row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    by_epoch = table(list(shown), list(zip(*shown.values(), strict=True)))
    note = '<p class="muted">Measures in %; seconds of training so far, evaluation not counted.</p>'
    return f"{plots}\n<h3>By epoch</h3>{by_epoch}{note}"


def confusion_section(analysis: Analysis) -> str:
    found, predicted = analysis.classified, analysis.predicted
    if found is None or predicted is None:
        return "<p>There are too few items to tell classes apart.</p>"
    wrong = int(found.confusion.sum() - found.confusion.diagonal().sum())
    n = len(analysis.material)
    text = (
        f"Row: true class; column: class by {escape(predicted.by)}; a cell is shaded by its share of the row. "
        f"{n - wrong:,} of {n:,} are right ({percent(found.accuracy)}\u00a0%; mean over classes "
        f"{percent(found.class_accuracy)}\u00a0%)."
    )
    return confusion_view(text, found.confusion, analysis.material.classes, verb="taken for")


def retrieval_section(analysis: Analysis) -> str:
    """Precision against recall, and the classes from the worst to the best."""
    scores, material = analysis.retrieval, analysis.material
    if scores is None:
        intro = "<p>No two items share a class, so there is nothing to find.</p>"
        plot = ""
    else:
        skipped = (
            f" {scores.n_skipped} items are the only ones of their class and are no queries."
            if scores.n_skipped
            else ""
        )
        plot = themed_figure(lambda theme: draw_precision_recall(scores, theme), "precision against recall")
        intro = (
            "<p>Every test item is looked for among all others. The curve is interpolated: the best precision "
            f"at this recall or a higher one.{skipped}</p>"
        )
    lines = []
    for row in class_rows(analysis):
        taken = ""
        if row.taken_for is not None:
            taken = f"{escape(material.classes[row.taken_for[0]])} ({row.taken_for[1]})"
        lines.append(
            [
                escape(material.classes[row.label]),
                str(row.count),
                bar_cell(row.map),
                bar_cell(row.nn),
                bar_cell(row.accuracy),
                f'<td class="name">{taken}</td>',
            ]
        )
    header = ["class", "items", "mAP, %", "NN, %", "accuracy, %", "taken for"]
    by_class = table(header, lines, names=1)
    return (
        f'{intro}<div class="beside"><div class="plots">{plot}</div>'
        f"<div><h3>By class, worst first</h3>{by_class}</div></div>"
    )


def neighbours_section(analysis: Analysis, thumbnails: Thumbnails) -> str:
    queries = choose_queries(analysis.average_precision, analysis.labels)
    if not queries:
        return "<p>No item has another of its class to be found.</p>"
    k = min(_NEIGHBOURS, len(analysis.material) - 1)
    found = nearest(analysis.x, torch.tensor([query.item for query in queries]), k)
    parts = {"good": "", "worst": ""}
    for query, row in zip(queries, found.tolist(), strict=True):
        parts[query.kind] += query_row(analysis, thumbnails, thumbnails, query.item, row)
    out = (
        f"<p>The query, then the {k} nearest of all other test items. Those of another class are framed in "
        "red and crossed. AP is the average precision of the query.</p>"
    )
    if parts["good"]:
        out += f"<h3>Drawn at random from the better half of the queries</h3>{parts['good']}"
    return f"{out}<h3>Queries of lowest average precision, one a class</h3>{parts['worst']}"


def query_row(
    analysis: Analysis, queries: Thumbnails, gallery: Thumbnails, item: int, found: list[int], kind: str = ""
) -> str:
    """Show a query and what it finds, nearest first."""
    ap = f"AP {100 * float(analysis.average_precision[item]):.1f} %"
    told = f"<span><b>{kind}</b></span><span>{ap}</span>" if kind else f"<span>{ap}</span>"
    shown = queries.figure(item, f"{kind} query, {ap}".lstrip())
    shown = shown.replace("</figcaption>", f"{told}</figcaption>")
    cells = ""
    for rank, other in enumerate(found, start=1):
        distance = float((analysis.gallery[other] - analysis.x[item]).norm())
        wrong = bool(analysis.gallery_labels[other] != analysis.labels[item])
        cells += gallery.figure(other, f"rank {rank}, distance {distance:.3f}", wrong=wrong)
    return f'<div class="query">{shown}<div class="row">{cells}</div></div>\n'


def pairs_section(analysis: Analysis, thumbnails: Thumbnails) -> str:
    """Positive pairs farthest apart, and negative pairs nearest each other."""
    out = (
        "<p>Euclidean distances of the embeddings"
        + (", whose length is 1 (so the largest is 2)" if analysis.material.normalized else "")
        + ". An item is shown in one pair only, the hardest it is in.</p>"
    )
    for kind, heading, none in (
        ("positive", "Same class, farthest apart", "No two items share a class."),
        ("negative", "Different classes, nearest each other", "All items are of one class."),
    ):
        pairs = hardest_pairs(
            analysis.x, analysis.labels, "positive" if kind == "positive" else "negative", _PAIRS
        )
        shown = "".join(
            pair_card(thumbnails, thumbnails, pair, f"distance <b>{pair.distance:.3f}</b>") for pair in pairs
        )
        out += f"<h3>{heading}</h3>" + (f'<div class="pairs">{shown}</div>' if pairs else f"<p>{none}</p>")
    return out


def pair_card(first: Thumbnails, second: Thumbnails, pair: Pair, told: str) -> str:
    """Make a card of an item i of the first and j of the second; `told` is HTML."""
    note = f"distance {pair.distance:.3f}"
    both = first.figure(pair.i, note) + second.figure(pair.j, note)
    return f'<div class="pair"><p>{told}</p><div class="two">{both}</div></div>\n'


def embedding_section(analysis: Analysis) -> str:
    """The embedding in the plane, with a legend that any script can be read in."""
    classes = analysis.material.classes
    plane = analysis.plane
    plot = themed_figure(lambda theme: draw_plane_map(plane, classes, named=True, theme=theme), "map")
    text = f"<p>Map by {plane.how} of {len(plane.points):,} test items; the names stand at class medians.</p>"
    return map_view(text, plot, sorted(set(plane.labels.tolist())), classes)


def map_view(text: str, plot: str, labels: Sequence[int], classes: Sequence[str]) -> str:
    legend = "".join(
        f'<span><i style="--light:{class_symbol(c, LIGHT)[1]};--dark:{class_symbol(c, DARK)[1]}">'
        f"{class_symbol(c, LIGHT)[0]}</i>{escape(classes[c])}</span>"
        for c in labels
    )
    return f'{text}<div class="plots map">{plot}</div><div class="legend">{legend}</div>'
