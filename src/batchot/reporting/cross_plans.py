"""The section of a cross-modal report about the transport plans within the modalities and across."""

from __future__ import annotations

from functools import partial
from html import escape

import torch
from torch import Tensor

from batchot.reporting.cross_analysis import CrossAnalysis
from batchot.reporting.markup import Thumbnails, themed_figure
from batchot.reporting.pairs import Pair
from batchot.reporting.plan import (
    BatchPlan,
    draw_heat_map,
    draw_shares,
    heaviest_pairs,
    solve_items,
)
from batchot.reporting.plan_section import mass_words, plan_card, settings_words

_PAIRS = 8
_SIZE = 32  # items of each modality: about the batch of the authors' program


def paired_items(
    query_labels: Tensor, gallery_labels: Tensor, *, size: int = _SIZE, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draw a batch of each modality with the same classes, as many of each as there are.

    Args:
        query_labels: (n,)
        gallery_labels: (m,)
        size: at most so many items of each modality; four or more of a class, so of size / 4 classes at most
        seed: of the draw

    Returns:
        Indices of queries and of the gallery, both sorted by class; empty without a class in common.

    >>> paired_items(torch.tensor([2, 0, 2]), torch.tensor([1, 2, 1]))
    (tensor([0, 2]), tensor([1]))
    """
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
