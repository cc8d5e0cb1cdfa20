"""Both modalities of a run in one plane, marked apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from batchot.reporting.embedding import class_mark, embed_in_plane
from batchot.reporting.theme import LIGHT, Theme, figure_text, new_figure, style_axes


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
    """Lay the embeddings of two modalities out in one plane by t-SNE.

    Args:
        queries: as they are compared, (n, d)
        query_labels: (n,)
        gallery: (m, d)
        gallery_labels: (m,)
        limit: at most so many of each, drawn at random
        seed: of the draw and of t-SNE

    Returns:
        Points, labels and modality of those that were drawn.
    """
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
    """Draw both modalities: hollow queries and filled items of the gallery, in the colour and shape of the class.

    Items of classes that no query has are grey dots.

    Args:
        plane: of `lay_out_both`
        classes: name of each label
        names: what several queries and several items of the gallery are called
        title: of the figure
        theme: colours

    Returns:
        A figure.
    """
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
