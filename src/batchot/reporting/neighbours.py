"""Nearest neighbours and hardest pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from batchot.reporting.sheet import Cell, draw_rows

_PAIRS_AT_ONCE = 2**22  # distances at once


@dataclass(frozen=True)
class Pair:
    """Two items and how far apart they are."""

    i: int
    j: int
    distance: float  # Euclidean


def hardest_pairs(
    embeddings: Tensor, labels: Tensor, kind: Literal["positive", "negative"], k: int
) -> list[Pair]:
    """Find the positive pairs farthest apart, or the negative pairs nearest each other."""
    x = embeddings.double()
    free = torch.ones(len(x), dtype=torch.bool)
    hardness = np.full(len(x), -np.inf)  # of the hardest pair of each row
    partner = np.full(len(x), -1)

    def search(rows: Tensor) -> None:
        for part in rows.split(max(1, _PAIRS_AT_ONCE // len(x))):
            delta = torch.cdist(x[part], x)  # (r, n)
            same = labels[part][:, None] == labels[None, :]
            wanted = (same if kind == "positive" else ~same) & free
            wanted[torch.arange(len(part)), part] = False
            score = (delta if kind == "positive" else -delta).masked_fill(~wanted, -torch.inf)
            best = score.max(dim=1)
            hardness[part.numpy()], partner[part.numpy()] = best.values.numpy(), best.indices.numpy()

    search(torch.arange(len(x)))
    pairs: list[Pair] = []
    while len(pairs) < k:
        i = int(hardness.argmax())
        if hardness[i] == -np.inf:
            break
        j = int(partner[i])
        pairs.append(Pair(min(i, j), max(i, j), abs(float(hardness[i]))))
        free[[i, j]] = False
        hardness[[i, j]] = -np.inf
        # only rows whose hardest partner is gone have to look again
        search(torch.from_numpy(np.isin(partner, (i, j)) & free.numpy()).nonzero()[:, 0])
    return pairs


@dataclass(frozen=True)
class Query:
    """An item that is looked for, and why it is shown."""

    item: int
    kind: Literal["good", "best", "random", "worst"]


def nearest(embeddings: Tensor, queries: Tensor, k: int) -> Tensor:
    """Give the indices of the k nearest items to each query, itself left out."""
    return nearest_of(embeddings[queries], embeddings, k, queries)


def nearest_of(queries: Tensor, gallery: Tensor, k: int, own: Tensor | None = None) -> Tensor:
    """Give the indices of the k items of a gallery nearest to each query, of which some are their own."""
    y, size = gallery.double(), max(1, _PAIRS_AT_ONCE // len(gallery))
    found = []
    for start in range(0, len(queries), size):
        distances = torch.cdist(queries[start : start + size].double(), y)  # (q, n)
        if own is not None:
            distances.scatter_(1, own[start : start + size, None], torch.inf)
        if k == 1:
            found.append(distances.argmin(dim=1, keepdim=True))
        else:
            found.append(distances.argsort(dim=1, stable=True)[:, :k])
    return torch.cat(found) if found else torch.zeros(0, k, dtype=torch.int64)


def choose_queries(
    average_precision: Tensor, labels: Tensor, *, good: int = 6, worst: int = 6, seed: int = 0
) -> list[Query]:
    """Choose queries to look at: some that find their class well, drawn at random, and the worst ones."""
    scored = (~average_precision.isnan()).nonzero()[:, 0]  # (s,)
    if len(scored) == 0:
        return []
    ap = average_precision[scored]
    ascending = scored[ap.argsort(stable=True)].tolist()
    bottom = _one_of_each_class(ascending, labels, min(worst, (len(scored) + 1) // 2))
    upper = scored[ap >= ap.quantile(0.5)]
    drawn = upper[torch.randperm(len(upper), generator=torch.Generator().manual_seed(seed))].tolist()
    top = _one_of_each_class([item for item in drawn if item not in bottom], labels, good)
    return [Query(item, "good") for item in top] + [Query(item, "worst") for item in bottom]


def _one_of_each_class(items: Sequence[int], labels: Tensor, count: int) -> list[int]:
    """The first items of different classes, then the first of the others."""
    classes: set[int] = set()
    first: list[int] = []
    rest: list[int] = []
    for item in items:
        label = int(labels[item])
        (rest if label in classes else first).append(item)
        classes.add(label)
    return (first + rest)[:count]


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
) -> bytes:
    """Draw one query of each class (of the first so many) and its nearest neighbours; wrong ones are marked."""
    queries = one_of_each_class(labels, rows, seed)
    found = nearest(embeddings, queries, min(columns, len(labels) - 1))  # (q, k)
    told = "left: query; right of it: the nearest of the test set, wrong ones crossed"
    items = (images, labels)
    return draw_found(items, items, queries, found, classes, title=f"{title}\n{told}")


def one_of_each_class(labels: Tensor, rows: int, seed: int = 0) -> Tensor:
    """Draw an item of each class, of the first so many, (q,)."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[labels[order] == label][:1] for label in labels.unique()[:rows]])


def draw_found(
    asked: tuple[Tensor, Tensor],
    sought: tuple[Tensor, Tensor],
    queries: Tensor,
    found: Tensor,
    classes: Sequence[str],
    *,
    title: str,
) -> bytes:
    """Draw queries and what they find, from the pictures and labels of both; wrong ones are marked."""
    (query_pictures, query_labels), (pictures, labels) = asked, sought
    lines = []
    for query, row in zip(queries, found, strict=True):
        label = query_labels[query]
        cells = [Cell(pictures[item].numpy(), wrong=bool(labels[item] != label)) for item in row]
        lines.append((classes[int(label)], [Cell(query_pictures[query].numpy()), *cells]))
    return draw_rows(lines, title=title)
