"""The section of a report about the transport plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from batchot.losses import BatchOTSettings
from batchot.reporting.analysis import Analysis
from batchot.reporting.markup import Thumbnails, themed_figure
from batchot.reporting.pairs import Pair
from batchot.reporting.plan import (
    BatchPlan,
    draw_heat_map,
    draw_mass_histogram,
    draw_shares,
    heaviest_pairs,
    mass_shares,
    solve_batch,
)
from batchot.reporting.sections import pair_card
from batchot.reporting.theme import Theme

_PAIRS = 10


def plan_section(analysis: Analysis, thumbnails: Thumbnails) -> str:
    """M, D and T of one batch of test items, where the mass lies, and the pairs that have most of it."""
    material = analysis.material
    settings = material.loss or BatchOTSettings()
    plan = solve_batch(material.embeddings, analysis.labels, settings)
    if plan is None:
        return "<p>A batch of one item has no pairs.</p>"
    parts: tuple[tuple[str, Callable[[Theme], Figure]], ...] = (
        ("misplacement", partial(draw_heat_map, plan, "M", material.classes)),
        ("ground distance", partial(draw_heat_map, plan, "D", material.classes)),
        ("transport plan", partial(draw_heat_map, plan, "T", material.classes)),
        ("shares of pairs and mass", partial(draw_shares, plan)),
        ("mass of pairs", partial(draw_mass_histogram, plan)),
    )
    figures = "".join(themed_figure(draw, name) for name, draw in parts)
    cards = "".join(_card(analysis, thumbnails, plan, i, j) for i, j in heaviest_pairs(plan, _PAIRS))
    return (
        f'{_words(analysis, plan)}<div class="plots">{figures}</div>'
        f'<h3>Pairs of most mass</h3><div class="pairs">{cards}</div>'
    )


def _words(analysis: Analysis, plan: BatchPlan) -> str:
    s = plan.settings
    b, classes = len(plan.items), len(plan.labels.unique())
    if analysis.material.loss is None:
        whose = "The run was trained with another loss; this is what the transport loss would see with its defaults:"
    elif s.plan == "uniform":
        whose = "The run was trained with the uniform plan:"
    else:
        whose = "Settings of the run:"
    shares = {name: mass for name, _, mass in mass_shares(plan)}
    violated = shares["positive"] + shares["negative, violated"]
    return (
        f"<p>A batch of {b} test items of {classes} {'class' if classes == 1 else 'classes'} against itself, "
        f"{plan.n_pairs:,} ordered pairs, sorted by class. {whose} margin {s.margin:g}, positive margin "
        f"{s.pos_margin:g}, &gamma; {s.gamma:g}, &lambda; {s.lam:g}"
        f"{', normalised embeddings' if s.normalize else ''}. A positive pair is badly placed by its distance, "
        "a negative pair by how far it is inside the margin; the plan seeks what is badly placed.</p>"
        f"<p><b>{plan.effective_pairs:,.0f}</b> effective pairs (exp of the plan's entropy) of "
        f"{plan.n_pairs:,}; <b>{100 * violated:.1f} %</b> of the mass on positive pairs and negative pairs "
        f"inside the margin; {plan.iterations} iterations, marginal error {plan.marginal_error:.1e}.</p>"
    )


def _card(analysis: Analysis, thumbnails: Thumbnails, plan: BatchPlan, i: int, j: int) -> str:
    first, second = int(plan.items[i]), int(plan.items[j])
    mass = float(plan.T[i, j] + plan.T[j, i]) / 2 * plan.n_pairs
    distance = float((analysis.x[first] - analysis.x[second]).norm())
    kind = "positive" if plan.labels[i] == plan.labels[j] else "negative"
    told = f"<b>{mass:.2f}</b> &times; uniform<br>{kind}, distance {distance:.3f}"
    return pair_card(thumbnails, Pair(first, second, distance), told)
