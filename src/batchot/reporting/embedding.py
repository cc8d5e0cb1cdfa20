"""A picture of an embedding in the plane."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
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
    """Lay embeddings out in the plane by t-SNE."""
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
    """Draw points of the plane, coloured by class."""
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
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            markerscale=2,
            frameon=False,
            ncols=1 + len(classes) // 21,
        )
    style_axes(axes, theme, grid=False)
    axes.spines[:].set_visible(False)
    return figure


def draw_embedding(
    embeddings: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    title: str,
    limit: int = 1500,
    seed: int = 0,
) -> Figure:
    """Draw embeddings as points in the plane by t-SNE, coloured by class."""
    plane = embed_in_plane(embeddings, labels, limit=limit, seed=seed)
    return draw_plane_map(
        plane, classes, title=f"{title}\n{plane.how} of {len(plane.points):,} of the test set"
    )
