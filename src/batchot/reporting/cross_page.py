"""The page of a cross-modal run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from batchot.files import RunFolder, write_bytes, write_text
from batchot.reporting.cross_material import CrossModalMaterial, Items, Side
from batchot.reporting.cross_sections import (
    CrossAnalysis,
    confusion_section,
    draw_retrieved,
    draw_shared_map,
    measures_section,
    plans_section,
    retrieved_section,
)
from batchot.reporting.curves import draw_curves
from batchot.reporting.page import assemble_page, headline_cards
from batchot.reporting.sections import curves_section, map_view
from batchot.reporting.style import Thumbnails, figure_png, themed_figure
from batchot.reporting.thumbnails import thumbnails_of
from batchot.training.losses import transport_settings

if TYPE_CHECKING:
    from batchot.data import Samples
    from batchot.training.run import TrainedRun
    from batchot.training.scores import Embedded

_MANY = 40  # classes from which the pictures are smaller, so that the page stays a few megabytes


def make_cross_page(material: CrossModalMaterial, analysis: CrossAnalysis | None = None) -> str:
    """Make an HTML page about a cross-modal run that needs no other file."""
    analysis = analysis or CrossAnalysis(material)
    side = 96 if len(analysis.query_labels.unique()) <= _MANY else 56
    queries = Thumbnails(Side(material.query, material.classes), side=side)
    gallery = Thumbnails(Side(material.gallery, material.classes), side=side)
    found = f"{material.queries} and what they find"
    sections = [
        ("curves", "Curves", curves_section(material.rows)),
        ("measures", "Measures", measures_section(analysis)),
        ("retrieved", escape(found[:1].upper() + found[1:]), retrieved_section(analysis, queries, gallery)),
        ("confusion", "First found", confusion_section(analysis)),
        ("embedding", "Shared embedding", _embedding_section(analysis)),
        ("plans", "Transport plans", plans_section(analysis, queries, gallery)),
    ]
    shown = [section for section in sections if section[2]]
    return assemble_page(material.title, material.about, _headline(analysis), shown, material.config)


def _headline(analysis: CrossAnalysis) -> str:
    """The numbers to know first, measured on the material itself."""
    material, scores = analysis.material, analysis.scores
    cards = []
    if scores is not None:
        cards += [
            (f"{100 * scores.map:.2f} %", f"mAP, {material.query_name} to {material.gallery_name}"),
            (f"{100 * scores.macro.map:.2f} %", "mAP, mean over classes"),
            (f"{100 * scores.nn:.2f} %", f"NN, first {material.gallery_name} is right"),
        ]
    for items, name in ((material.query, material.queries), (material.gallery, material.targets)):
        n = len(items.labels.unique())
        cards.append((f"{len(items):,}", f"{name} of {n} {'class' if n == 1 else 'classes'}"))
    return headline_cards(cards, material.rows)


def _embedding_section(analysis: CrossAnalysis) -> str:
    """Both modalities in one plane, with a legend that any script can be read in."""
    material, plane = analysis.material, analysis.plane
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


def write_cross_pages(folder: RunFolder, material: CrossModalMaterial) -> None:
    """Write figures/*.png and report.html."""
    title, analysis = material.title, CrossAnalysis(material)
    if material.rows:
        write_bytes(folder.figures / "curves.png", figure_png(draw_curves(material.rows, title)))
    names = (material.queries, material.targets)
    heading = f"{title}\n{analysis.plane.how} of {names[0]} and {names[1]}"
    map_figure = draw_shared_map(analysis.plane, material.classes, names, title=heading)
    write_bytes(folder.figures / "embedding.png", figure_png(map_figure))
    write_bytes(folder.figures / "retrieved.png", draw_retrieved(analysis, title=title))
    write_text(folder.report, make_cross_page(material, analysis))


def material_of_cross_run(run: TrainedRun, gallery: Embedded, samples: Samples) -> CrossModalMaterial:
    """Give what a report of several towers is made from."""
    recipe, data = run.recipe, run.data
    return CrossModalMaterial(
        title=f"{recipe.name}, {recipe.loss.name}, seed {recipe.seed}",
        about=recipe.about,
        config=run.folder.config.read_text(encoding="utf-8"),
        rows=run.rows,
        classes=data.classes,
        query=_items(run.queries, data.queries),
        gallery=_items(gallery, samples),
        query_name=recipe.query,
        gallery_name=recipe.target,
        normalized=run.normalized,
        loss=transport_settings(recipe.loss),
    )


def _items(embedded: Embedded, samples: Samples) -> Items:
    return Items(embedded.embeddings, embedded.labels, thumbnails_of(samples), samples.names or None)
