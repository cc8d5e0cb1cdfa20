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
    b, classes = len(plan.items), len(plan.labels.unique())
    told = settings_words(plan.settings, trained=analysis.material.loss is not None)
    return (
        f"<p>A batch of {b} test items of {classes} {'class' if classes == 1 else 'classes'} against itself, "
        f"{plan.n_pairs:,} ordered pairs, sorted by class. {told}</p>{mass_words(plan)}"
    )


def settings_words(settings: BatchOTSettings, *, trained: bool = True) -> str:
    """Say by which settings a plan is solved, and what it seeks.

    Args:
        settings: of the transport loss
        trained: the run was trained with that loss
    """
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


def _card(analysis: Analysis, thumbnails: Thumbnails, plan: BatchPlan, i: int, j: int) -> str:
    first, second = int(plan.items[i]), int(plan.items[j])
    mass = float(plan.T[i, j] + plan.T[j, i]) / 2 * plan.n_pairs
    distance = float((analysis.x[first] - analysis.x[second]).norm())
    positive = bool(plan.labels[i] == plan.labels[j])
    return plan_card(thumbnails, thumbnails, Pair(first, second, distance), mass, positive=positive)


def plan_card(first: Thumbnails, second: Thumbnails, pair: Pair, mass: float, *, positive: bool) -> str:
    """Make a card of a pair and its mass.

    Args:
        first, second: pictures of the rows and of the columns of the plan
        pair: item of the first and item of the second
        mass: in units of that of the uniform plan
        positive: they are of one class
    """
    kind = "positive" if positive else "negative"
    told = f"<b>{mass:.2f}</b> &times; uniform<br>{kind}, distance {pair.distance:.3f}"
    return pair_card(first, second, pair, told)
