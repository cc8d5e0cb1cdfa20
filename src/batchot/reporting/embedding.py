"""A picture of an embedding in the plane."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from batchot.reporting.style import LIGHT, Theme, figure_text, new_figure, style_axes

# Six colours that every kind of colour vision tells apart, times eight shapes: 48 classes before one recurs.
_COLOURS = 6
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_SYMBOLS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★")


@dataclass(frozen=True, eq=False)
class PlaneMap:
    """Items as points of the plane."""

    points: np.ndarray  # (k, 2)
    labels: np.ndarray  # (k,)
    how: str  # "t-SNE" or what stands in for it


def embed_in_plane(embeddings: Tensor, labels: Tensor, *, limit: int = 1500, seed: int = 0) -> PlaneMap:
    from sklearn.manifold import TSNE

    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:limit]
    x, y = embeddings[chosen].double().numpy(), labels[chosen].numpy()  # (k, d), (k,)
    if len(x) > 10 and x.std() > 0:
        perplexity = min(30.0, (len(x) - 1) / 3)
        with warnings.catch_warnings():
            # the principal components of points that are all but equal divide by their spread
            warnings.filterwarnings("ignore", category=RuntimeWarning)
            points = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(x)
        return PlaneMap(points, y, "t-SNE")
    points = np.zeros((len(x), 2))  # t-SNE needs a few points that differ
    points[:, : min(2, x.shape[1])] = x[:, :2]
    return PlaneMap(points, y, "the first two coordinates")


def class_symbol(label: int, theme: Theme) -> tuple[str, str]:
    """Give the sign and the colour of a class, for a legend in text."""
    return _SYMBOLS[label // _COLOURS % len(_SYMBOLS)], theme.series[label % _COLOURS]


def class_mark(label: int, theme: Theme) -> tuple[str, str]:
    """Give the marker of matplotlib and the colour of a class."""
    return _MARKERS[label // _COLOURS % len(_MARKERS)], theme.series[label % _COLOURS]


def draw_plane_map(
    plane: PlaneMap, classes: Sequence[str], *, title: str = "", named: bool = False, theme: Theme = LIGHT
) -> Figure:
    figure = new_figure(7.6, 6, theme)
    axes = figure.subplots()
    size = 9 if len(plane.points) > 400 else 20
    for label, name in enumerate(classes):
        mine = plane.points[plane.labels == label]
        marker, colour = class_mark(label, theme)
        shown = figure_text(name, f"class {label}")
        axes.scatter(mine[:, 0], mine[:, 1], s=size, color=colour, marker=marker, label=shown, linewidths=0)
        if named and len(mine):
            # at the item in the middle, as the mean of a class in two parts lies among others
            place = mine[np.abs(mine - np.median(mine, axis=0)).sum(1).argmin()]
            halo = [withStroke(linewidth=2.2, foreground=theme.background)]
            axes.annotate(shown, place, fontsize=8, color=theme.ink, ha="center", path_effects=halo)
    axes.set(xticks=[], yticks=[], title=title.replace("$", "\\$"))
    if not named and len(classes) <= _COLOURS * len(_MARKERS):
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
        axes.legend(**beside, markerscale=2, frameon=False, ncols=1 + len(classes) // 21)
    style_axes(axes, theme, grid=False)
    axes.spines[:].set_visible(False)
    return figure


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
    plane: SharedMap, classes: Sequence[str], names: tuple[str, str], *, title: str = "", theme: Theme = LIGHT
) -> Figure:
    """Draw both modalities: hollow queries and filled items of the gallery, in the colour and shape of the class."""
    figure = new_figure(7.6, 6.4, theme)
    axes = figure.subplots()
    other = ~np.isin(plane.labels, plane.asked)
    size = 13 if len(plane.points) > 500 else 24
    if other.any():
        x, y = plane.points[other].T
        axes.scatter(x, y, s=size / 2, color=theme.muted, alpha=0.45, linewidths=0)
    for label in plane.asked:
        marker, colour = class_mark(label, theme)
        mine = plane.labels == label
        found = plane.points[mine & ~plane.is_query]
        sought = plane.points[mine & plane.is_query]
        edge = theme.background  # parts filled marks that lie on each other
        look: dict[str, Any] = {"s": 2.4 * size, "color": colour, "marker": marker}
        axes.scatter(*found.T, **look, edgecolors=edge, linewidths=0.5)
        look = {"s": 1.4 * size, "facecolors": "none", "marker": marker}
        axes.scatter(*sought.T, **look, edgecolors=colour, linewidths=0.9)
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
