"""A picture of an embedding in the plane."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor


def draw_embedding(
    embeddings: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    title: str,
    limit: int = 1500,
    seed: int = 0,
) -> Figure:
    """Draw embeddings as points in the plane by t-SNE, coloured by class.

    Args:
        embeddings: (n, d)
        labels: (n,)
        classes: name of each label
        title: of the figure
        limit: at most so many points, drawn at random, as t-SNE takes seconds a thousand
        seed: of the draw and of t-SNE

    Returns:
        A figure with a legend.
    """
    from sklearn.manifold import TSNE

    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:limit]
    x, y = embeddings[chosen].double().numpy(), labels[chosen].numpy()  # (k, d), (k,)
    if len(x) > 10 and x.std() > 0:
        how, perplexity = "t-SNE", min(30.0, (len(x) - 1) / 3)
        points = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(x)  # (k, 2)
    else:
        how, points = "first two coordinates", x[:, :2]  # t-SNE needs a few points that differ
    figure = Figure(figsize=(7.6, 6), layout="constrained")
    axes = figure.subplots()
    colours = mpl.colormaps["tab10" if len(classes) <= 10 else "nipy_spectral"]
    for label, name in enumerate(classes):
        mine = points[y == label]
        colour = colours(label if len(classes) <= 10 else label / len(classes))
        second = mine[:, 1] if mine.shape[1] > 1 else 0 * mine[:, 0]
        axes.scatter(mine[:, 0], second, s=9, color=colour, label=name, linewidths=0)
    axes.set(title=f"{title}\n{how} of {len(x):,} test images", xticks=[], yticks=[])
    if len(classes) <= 40:
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            markerscale=3,
            frameon=False,
            ncols=1 + len(classes) // 21,
        )
    return figure
