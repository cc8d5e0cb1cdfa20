"""A self-contained page about a cross-modal run."""

from __future__ import annotations

from html import escape

from batchot.reporting.cross_analysis import CrossAnalysis
from batchot.reporting.cross_map import draw_shared_map
from batchot.reporting.cross_material import CrossModalMaterial, Side
from batchot.reporting.cross_measures import confusion_section, measures_section
from batchot.reporting.cross_plans import plans_section
from batchot.reporting.cross_retrieved import retrieved_section
from batchot.reporting.markup import Thumbnails, themed_figure
from batchot.reporting.page import assemble_page, headline_cards
from batchot.reporting.sections import curves_section, map_view

_MANY = 40  # classes from which the pictures are smaller, so that the page stays a few megabytes


def make_cross_page(material: CrossModalMaterial, analysis: CrossAnalysis | None = None) -> str:
    """Make an HTML page about a cross-modal run that needs no other file.

    Args:
        material: of the run
        analysis: of the material, where there is one already

    Returns:
        The page.

    Raises:
        ValueError: the embeddings are unfit for a measure
    """
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
