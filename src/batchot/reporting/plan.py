"""The transport plan of one batch of test items: what it holds, and pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from batchot.losses import BatchOTSettings
from batchot.losses.backends.general import misplacement_of, plan_of
from batchot.losses.problem import check_problem
from batchot.reporting.style import LIGHT, Theme, figure_text, new_figure, style_axes

_KINDS = ("positive", "negative, violated", "negative, easy")
Chosen = tuple[Tensor, Tensor, Tensor]  # embeddings (n, d), labels (n,), indices of those that are meant (b,)
_LEAST = 2.0**-6  # relative mass below which the histogram makes no difference


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """The transport problem of a batch against itself without its diagonal, or against another; sorted by class."""

    items: Tensor  # (b,) which of the test items
    labels: Tensor  # (b,) ascending
    M: Tensor  # misplacement, (b, m)
    D: Tensor  # ground distance exp(-gamma M), (b, m)
    T: Tensor  # transport plan, (b, m)
    effective_pairs: float  # exp(entropy of T)
    iterations: int
    marginal_error: float
    settings: BatchOTSettings
    column_items: Tensor | None = None  # (m,) of the other batch; None: against itself, m = b
    column_labels: Tensor | None = None  # (m,) ascending

    @property
    def allowed(self) -> Tensor:
        """Pairs that may have mass, bool (b, m): all of them, but no item with itself."""
        allowed = torch.ones(self.M.shape, dtype=torch.bool)
        return allowed if self.column_items is not None else allowed.fill_diagonal_(False)

    @property
    def n_pairs(self) -> int:
        """Ordered pairs that may have mass: b (b - 1), or b m against another batch."""
        return int(self.allowed.sum())

    @property
    def relative(self) -> Tensor:
        """T times the number of pairs, (b, m): 1 is the uniform plan; NaN where no mass is allowed."""
        return (self.T.double() * self.n_pairs).masked_fill(~self.allowed, torch.nan)

    def kinds(self) -> list[tuple[str, Tensor]]:
        """The positive pairs, the negative ones inside the margin and the other negative ones, as bool (b, m)."""
        other = self.labels if self.column_labels is None else self.column_labels
        same = self.labels[:, None] == other[None, :]
        violated = self.M > 0
        return list(zip(_KINDS, (same & self.allowed, ~same & violated, ~same & ~violated), strict=True))


def balanced_batch(labels: Tensor, *, size: int = 64, seed: int = 0) -> Tensor:
    """Draw a batch with equally many items of each class, as far as the classes have them."""
    generator = torch.Generator().manual_seed(seed)
    present, counts = labels.unique(return_counts=True)
    useful = present[counts > 1] if bool((counts > 1).any()) else present
    classes = useful[torch.randperm(len(useful), generator=generator)]
    # four of a class, so that there are several positive pairs, or more where there are few classes
    classes = classes[: max(1, size // 4)]
    each = max(2, size // len(classes))
    order = torch.randperm(len(labels), generator=generator)
    drawn = [order[labels[order] == label][:each] for label in classes.sort().values]
    return torch.cat(drawn)[:size]


def solve_batch(
    embeddings: Tensor, labels: Tensor, settings: BatchOTSettings, *, size: int = 64, seed: int = 0
) -> BatchPlan | None:
    """Solve the transport problem of one class-balanced batch, as the loss does."""
    items = balanced_batch(labels, size=size, seed=seed)
    return None if len(items) < 2 else solve_items((embeddings, labels, items), None, settings)


def solve_items(rows: Chosen, columns: Chosen | None, settings: BatchOTSettings) -> BatchPlan:
    """Solve the transport problem of chosen items, as the loss does."""
    (x, x_labels, items) = rows
    y, y_labels, y_items = columns or (None, None, None)
    labels = x_labels[items]
    column_labels = None if y_labels is None else y_labels[y_items]
    problem = check_problem(
        x[items].detach().cpu().float(),
        labels,
        None,
        None if y is None else y[y_items].detach().cpu().float(),
        column_labels,
        replace(settings, ignore_label=None),
    )
    with torch.no_grad():
        M = misplacement_of(problem)
        plan = plan_of(M, problem)
    return BatchPlan(
        items=items,
        labels=labels,
        M=M,
        D=torch.exp(-settings.gamma * M),
        T=plan.coupling,
        effective_pairs=float(plan.effective_pairs),
        iterations=plan.iterations,
        marginal_error=float(plan.marginal_error),
        settings=settings,
        column_items=y_items,
        column_labels=column_labels,
    )


def heaviest_pairs(plan: BatchPlan, k: int) -> list[tuple[int, int]]:
    """Give the pairs of most mass as places in the batch, heaviest first; of a batch against itself i < j."""
    if plan.column_items is None:
        mass, n_pairs = (plan.T + plan.T.T).double().triu(1), plan.n_pairs // 2  # (b, b)
    else:
        mass, n_pairs = plan.T.double(), plan.n_pairs  # (b, m)
    order = mass.flatten().argsort(descending=True, stable=True)[: min(k, n_pairs)]
    return [divmod(int(place), mass.shape[1]) for place in order]


def draw_heat_map(
    plan: BatchPlan, what: str, classes: Sequence[str], theme: Theme = LIGHT, *, columns: str = ""
) -> Figure:
    """Draw M, D or the relative plan as a heat map sorted by class."""
    figure = new_figure(4.6, 3.9, theme)
    axes = figure.subplots()
    if what == "T":
        # doublings on both sides of the uniform plan; what is hardly there at all is as good as 1 / 32
        values = plan.relative.clamp(min=2.0**-5).log2().numpy()
        top = max(1.0, min(5.0, float(np.ceil(np.nanmax(np.abs(values))))))
        low, high = -top, top
        # through the background, so that what is as in the uniform plan does not catch the eye
        shades: Colormap = LinearSegmentedColormap.from_list(
            "plan", [theme.series[0], theme.background, theme.series[1]]
        )
        title = r"plan T $\times$ number of pairs (1 = uniform)"
    else:
        values = (plan.M if what == "M" else plan.D).double().masked_fill(~plan.allowed, torch.nan).numpy()
        low, high = 0.0, 1.0 if what == "D" else max(1e-9, float(np.nanmax(values)))
        shades = mpl.colormaps["cividis" if what == "M" else "cividis_r"]  # what is hard is bright in both
        title = "misplacement M (0 = easy)" if what == "M" else r"ground distance D = exp($-\gamma$ M)"
    shades = shades.with_extremes(bad=theme.grid)  # the diagonal
    shown = axes.imshow(values, cmap=shades, vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, pad=0.02)
    if what == "T":
        ticks = np.arange(-top, top + 1).tolist()
        bar.set_ticks(ticks, labels=[f"{2**t:g}" if t >= 0 else f"1/{2**-t:g}" for t in ticks])
    bar.ax.tick_params(colors=theme.muted, labelsize=8)
    bar.outline.set_edgecolor(theme.grid)
    starts, names = _classes_along(plan.labels, classes)
    across = starts if plan.column_labels is None else _classes_along(plan.column_labels, classes)[0]
    for line, places in ((axes.axhline, starts), (axes.axvline, across)):
        for place in places[1:]:
            line(place - 0.5, color=theme.muted if what == "T" else "white", linewidth=0.6, alpha=0.35)
    middles = (np.array([*starts[1:], len(plan.items)]) + np.array(starts)) / 2 - 0.5
    axes.set(title=title, xticks=[], xlabel=columns)
    axes.set_yticks(middles, labels=names)
    style_axes(axes, theme, grid=False)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def _classes_along(labels: Tensor, classes: Sequence[str]) -> tuple[list[int], list[str]]:
    present, counts = labels.unique_consecutive(return_counts=True)
    starts = [0, *counts.cumsum(0)[:-1].tolist()]
    return starts, [figure_text(classes[int(c)], f"class {int(c)}", 14) for c in present]


def draw_mass_histogram(plan: BatchPlan, theme: Theme = LIGHT) -> Figure:
    """Draw how the mass is spread: for each kind of pair, the share of all mass by the mass of a pair."""
    figure = new_figure(4.6, 3.3, theme)
    axes = figure.subplots()
    relative = plan.relative
    present = relative[~relative.isnan()].clamp(min=_LEAST)
    low, high = float(present.min().log2()), float(present.max().log2())
    middle, span = (low + high) / 2, max(high - low, 0.2)  # a uniform plan has no spread
    edges = 2.0 ** np.linspace(middle - span / 2 - 0.02, middle + span / 2 + 0.02, 31)
    kinds = [(name, relative[chosen]) for name, chosen in plan.kinds()]
    values = [mass.clamp(min=_LEAST).numpy() for _, mass in kinds]
    weights = [100 * mass.numpy() / plan.n_pairs for _, mass in kinds]
    names, colours = [name for name, _ in kinds], [theme.series[0], theme.series[1], theme.muted]
    axes.hist(values, edges.tolist(), weights=weights, stacked=True, label=names, color=colours)
    axes.axvline(1, color=theme.ink, linewidth=0.8, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}" if v >= 1 else f"1/{1 / v:g}")
    axes.set(xlabel=r"mass of a pair $\times$ number of pairs (1 = uniform)", ylabel="% of all mass")
    axes.set(title="where the mass lies", ylim=(0, 112))
    axes.legend(loc="upper left")
    style_axes(axes, theme)
    return figure


def draw_shares(plan: BatchPlan, theme: Theme = LIGHT) -> Figure:
    """Draw, for each kind of pair, its share of the pairs beside its share of the mass."""
    figure = new_figure(4.6, 3.3, theme)
    axes = figure.subplots()
    places = np.arange(len(_KINDS))
    for offset, values, label, colour in (
        (0.19, [100 * pairs for _, pairs, _ in mass_shares(plan)], "of the pairs", theme.muted),
        (-0.19, [100 * mass for _, _, mass in mass_shares(plan)], "of the mass", theme.series[1]),
    ):
        bars = axes.barh(places[::-1] + offset, values, 0.36, label=label, color=colour)
        axes.bar_label(bars, fmt="%.1f", padding=3, color=theme.ink, fontsize=9)
    axes.set_yticks(places[::-1], labels=_KINDS)
    axes.set(xlabel="%", xlim=(0, 112), title="pairs and their mass")
    axes.legend(loc="best")
    style_axes(axes, theme)
    axes.grid(visible=False, axis="y")
    return figure


def mass_shares(plan: BatchPlan) -> list[tuple[str, float, float]]:
    """Give for each kind of pair its share of the pairs and its share of the mass, as fractions."""
    total = float(plan.T.double().sum())
    return [
        (name, int(chosen.sum()) / plan.n_pairs, float(plan.T[chosen].double().sum()) / max(total, 1e-300))
        for name, chosen in plan.kinds()
    ]
