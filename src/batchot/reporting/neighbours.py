"""Queries and what is found next to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def nearest(embeddings: Tensor, queries: Tensor, k: int) -> Tensor:
    """Give the indices of the k nearest items to each query, itself left out.

    Args:
        embeddings: (n, d)
        queries: indices into them, (q,)
        k: at most n - 1

    Returns:
        Indices, nearest first, (q, k).

    >>> nearest(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([2]), k=2)
    tensor([[1, 0]])
    """
    distances = torch.cdist(embeddings[queries].double(), embeddings.double())  # (q, n)
    distances[torch.arange(len(queries)), queries] = torch.inf
    return distances.argsort(dim=1)[:, :k]


def draw_neighbours(
    images: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    title: str,
    rows: int = 10,
    columns: int = 10,
    seed: int = 0,
) -> Figure:
    """Draw one query of each class (of the first so many) and its nearest neighbours; wrong ones are framed.

    Args:
        images: (n, c, h, w) uint8
        embeddings: (n, d)
        labels: (n,)
        classes: name of each label
        title: of the figure
        rows: at most so many queries
        columns: neighbours of each
        seed: of the choice of queries

    Returns:
        A figure.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    firsts = [order[labels[order] == label][:1] for label in labels.unique()[:rows]]
    queries = torch.cat(firsts)  # (q,)
    found = nearest(embeddings, queries, min(columns, len(labels) - 1))  # (q, k)
    q, k = found.shape
    figure = Figure(figsize=(0.8 * (k + 1) + 0.9, 0.8 * q + 0.9), layout="constrained")
    figure.suptitle(f"{title}\nleft: query; right of it: nearest test images, those of another class in red")
    grid = figure.subplots(q, k + 1, squeeze=False, gridspec_kw={"width_ratios": [1.25] + [1] * k})
    for axes, query, neighbours in zip(grid, queries, found, strict=True):
        _show(axes[0], images[query])
        name = classes[int(labels[query])]
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for cell, neighbour in zip(axes[1:], neighbours, strict=True):
            wrong = bool(labels[neighbour] != labels[query])
            _show(cell, images[neighbour], "tab:red" if wrong else None)
    return figure


def _show(axes: Axes, image: Tensor, frame: str | None = None) -> None:
    pixels = image.permute(1, 2, 0).numpy()  # (h, w, c)
    single = pixels.shape[2] == 1
    axes.imshow(
        pixels[:, :, 0] if single else pixels,
        cmap="gray" if single else None,
        vmin=0,
        vmax=255,
        aspect="equal",
    )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        spine.set_linewidth(3)
        spine.set_color(frame or "none")
