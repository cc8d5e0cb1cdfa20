"""A self-contained page about a run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from batchot.files import page_style
from batchot.reporting import across, sections
from batchot.reporting.analysis import Analysis
from batchot.reporting.curves import plan_history_section
from batchot.reporting.material import ReportMaterial
from batchot.reporting.style import Thumbnails

if TYPE_CHECKING:
    from batchot.evaluation import RetrievalScores
    from batchot.training.callbacks import Row

_MANY = 40  # classes from which the pictures are smaller, so that the page stays a few megabytes


def make_page(material: ReportMaterial, analysis: Analysis | None = None) -> str:
    analysis = analysis or Analysis(material)
    parts = _among_themselves(analysis) if material.gallery is None else _in_gallery(analysis)
    headline = _headline(analysis) if material.gallery is None else _headline_across(analysis)
    return assemble_page(material.title, material.about, headline, parts, material.config)


def _among_themselves(analysis: Analysis) -> list[tuple[str, str, str]]:
    material, thumbnails = analysis.material, Thumbnails(analysis.material.query, analysis.material.classes)
    trained = plan_history_section(material.plans)
    over_training = (("plan-history", "Plan over the training", trained),) if trained else ()
    return [
        ("curves", "Curves", sections.curves_section(material.rows)),
        ("confusion", "Confusion matrix", sections.confusion_section(analysis)),
        ("retrieval", "Retrieval", sections.retrieval_section(analysis)),
        ("neighbours", "Nearest neighbours", sections.neighbours_section(analysis, thumbnails)),
        ("pairs", "Hardest pairs", sections.pairs_section(analysis, thumbnails)),
        ("plan", "Transport plan", sections.plan_section(analysis, thumbnails)),
        *over_training,
        ("embedding", "Embedding", sections.embedding_section(analysis)),
    ]


def _in_gallery(analysis: Analysis) -> list[tuple[str, str, str]]:
    material = analysis.material
    side = 96 if len(analysis.labels.unique()) <= _MANY else 56
    queries = Thumbnails(material.query, material.classes, side=side)
    gallery = Thumbnails(material.sought, material.classes, side=side)
    found = f"{material.queries} and what they find"
    found_sections = [
        ("curves", "Curves", sections.curves_section(material.rows)),
        ("measures", "Measures", across.measures_section(analysis)),
        (
            "retrieved",
            escape(found[:1].upper() + found[1:]),
            across.retrieved_section(analysis, queries, gallery),
        ),
        ("confusion", "First found", across.confusion_section(analysis)),
        ("embedding", "Shared embedding", across.embedding_section(analysis)),
        ("plans", "Transport plans", across.plans_section(analysis, queries, gallery)),
    ]
    return [section for section in found_sections if section[2]]


def assemble_page(
    title: str, about: str, headline: str, sections: Sequence[tuple[str, str, str]], config: str
) -> str:
    links = "".join(f'<a href="#{key}">{heading}</a>' for key, heading, _ in sections)
    body = "".join(
        f'<section id="{key}">\n<h2>{heading}</h2>\n{content}\n</section>\n'
        for key, heading, content in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{page_style()}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="about">{escape(about)}</p>
{headline}
<nav>{links}<a href="#settings">Settings</a></nav>
{body}<section id="settings">
<details><summary>Settings</summary>
<pre>{escape(config)}</pre>
</details>
</section>
</main>
</body>
</html>
"""


def _headline(analysis: Analysis) -> str:
    """The numbers to know first: those of the last evaluated epoch, else those of the material itself."""
    material = analysis.material
    last = next((row for row in reversed(material.rows) if row.map is not None), None)
    retrieved: Row | RetrievalScores | None = last or analysis.retrieval
    accuracy = by = None
    if last is not None:
        accuracy, by = last.accuracy, last.accuracy_by
    elif analysis.classified is not None and analysis.predicted is not None:
        accuracy, by = analysis.classified.accuracy, analysis.predicted.by
    cards: list[tuple[str, str]] = []
    if retrieved is not None:
        cards += [(f"{100 * (retrieved.map or 0):.2f} %", "mAP, retrieval within the test set")]
        cards += [(f"{100 * (retrieved.nn or 0):.2f} %", "NN, nearest neighbour is right")]
    if accuracy is not None:
        cards.append((f"{100 * accuracy:.2f} %", f"accuracy, by {by}" if by else "accuracy"))
    cards.append((f"{len(material):,}", f"test {material.items} of {len(material.classes)} classes"))
    return headline_cards(cards, material.rows)


def _headline_across(analysis: Analysis) -> str:
    """The numbers to know first, measured on the material itself."""
    material, scores = analysis.material, analysis.retrieval
    cards = []
    if scores is not None:
        cards += [
            (f"{100 * scores.map:.2f} %", f"mAP, {material.query_name} to {material.gallery_name}"),
            (f"{100 * scores.macro.map:.2f} %", "mAP, mean over classes"),
            (f"{100 * scores.nn:.2f} %", f"NN, first {material.gallery_name} is right"),
        ]
    for items, name in ((material.query, material.queries), (material.sought, material.targets)):
        n = len(items.labels.unique())
        cards.append((f"{len(items):,}", f"{name} of {n} {'class' if n == 1 else 'classes'}"))
    return headline_cards(cards, material.rows)


def headline_cards(cards: Sequence[tuple[str, str]], rows: Sequence[Row]) -> str:
    """Show values large with a text below each, and how long the training took."""
    cards = list(cards)
    if rows:
        cards.append((f"{rows[-1].epoch}", f"epochs in {_duration(rows[-1].seconds)} of training"))
    shown = "".join(f"<div><b>{escape(value)}</b><span>{escape(text)}</span></div>" for value, text in cards)
    return f'<div class="headline">{shown}</div>'


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
