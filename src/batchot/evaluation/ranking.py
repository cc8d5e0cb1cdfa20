"""Ranks of the relevant items of each query, in chunks of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from batchot.evaluation.counting import Ties, irrelevant_before
from batchot.evaluation.distances import Distance, comparable_items

Engine = Literal["auto", "torch", "numba"]

_BYTES_PER_RELEVANT = 80  # what the sort and the measures hold per query and relevant item
_BYTES_PER_GAP = 12  # what the plain PyTorch count holds per query and gallery item beside the key
_WORTH_COMPILING = 5_000_000  # pairs; below that the kernel's compilation takes longer than it saves


@dataclass(frozen=True, eq=False)
class RankedChunk:
    """Some queries with the ranks of all their relevant items."""

    rows: Tensor  # (q,) indices of the queries
    ranks: Tensor  # (q, K) float64, 1 = nearest, ascending, inf where a query has fewer than K relevant items
    n_relevant: Tensor  # (q,) the C of each query


def count_relevant(query_classes: Tensor, gallery_classes: Tensor, self_indices: Tensor) -> Tensor:
    """Return how many gallery items share each query's class, the query itself not counted.

    Args:
        query_classes: ``(n,)`` int64, from 0.
        gallery_classes: ``(m,)`` int64, from 0.
        self_indices: ``(n,)`` the query's own place in the gallery, -1 where it is not in it.

    Returns:
        ``(n,)`` int64.

    Example:
        >>> count_relevant(torch.tensor([0, 1]), torch.tensor([0, 0, 1]), torch.tensor([0, -1]))
        tensor([1, 1])
    """
    n_classes = int(torch.maximum(query_classes.max(), gallery_classes.max())) + 1
    same_class = torch.bincount(gallery_classes, minlength=n_classes)[query_classes]
    own_counted = (self_indices >= 0) & (gallery_classes[self_indices.clamp(min=0)] == query_classes)
    return same_class - own_counted.long()


def relevant_ranks(
    query: Tensor,
    query_classes: Tensor,
    gallery: Tensor,
    gallery_classes: Tensor,
    self_indices: Tensor,
    *,
    distance: Distance = "euclidean",
    ties: Ties = "pessimistic",
    chunk_bytes: int = 2**28,
    engine: Engine = "auto",
) -> Iterator[RankedChunk]:
    """Rank the relevant items of every query that has one, a chunk of queries at a time.

    The gallery is laid out by class, so that the relevant items of a query are neighbouring columns; queries
    are taken in the order of their number of relevant items, so that the rows of a chunk are about equally
    long.

    Args:
        query: ``(n, d)`` finite, float32 or float64.
        query_classes: ``(n,)`` int64, from 0.
        gallery: ``(m, d)``; may be the same object as ``query``.
        gallery_classes: ``(m,)`` int64, from 0.
        self_indices: ``(n,)`` the gallery item to leave out for each query, -1 for none.
        distance: "euclidean" or "cosine".
        ties: "pessimistic" ranks an irrelevant item before a relevant one at the same distance, "optimistic"
            after.
        chunk_bytes: about how much memory a chunk may take, beside the embeddings.
        engine: "torch", "numba" (CPU tensors only) or "auto": numba for large problems on the CPU.

    Yields:
        RankedChunk: queries with no relevant item are in none.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> classes, own = torch.tensor([0, 1, 0]), torch.arange(3)
        >>> [chunk] = relevant_ranks(x, classes, x, classes, own)
        >>> chunk.rows, chunk.ranks
        (tensor([0, 2]), tensor([[2.],
                [2.]], dtype=torch.float64))
    """
    device, n_gallery = query.device, len(gallery)
    by_class = gallery_classes.argsort(stable=True)
    if gallery is query:  # the queries are laid out by class too: one copy of the embeddings serves as both
        query = gallery = gallery[by_class]
        query_classes, self_indices = query_classes[by_class], self_indices[by_class]
        original_rows = by_class
    else:
        gallery = gallery[by_class]
        original_rows = torch.arange(len(query), device=device)
    gallery_classes = gallery_classes[by_class]
    place = torch.empty_like(by_class).scatter_(0, by_class, torch.arange(n_gallery, device=device))
    self_places = torch.where(self_indices >= 0, place[self_indices.clamp(min=0)], -1)

    items = comparable_items(query, gallery, distance)
    n_relevant = count_relevant(query_classes, gallery_classes, self_places)
    n_classes = int(torch.maximum(query_classes.max(), gallery_classes.max())) + 1
    class_size = torch.bincount(gallery_classes, minlength=n_classes)
    class_start = class_size.cumsum(0) - class_size

    waiting = query_classes.argsort(stable=True)  # (n,)
    waiting = waiting[class_size[query_classes[waiting]].argsort(descending=True, stable=True)]
    waiting = waiting[n_relevant[waiting] > 0]
    compiled = _is_compiled(engine, device, len(waiting) * n_gallery)
    bytes_per_key = items.gallery.element_size() * (1 if items.copies is None else 2)
    if not compiled:
        bytes_per_key += _BYTES_PER_GAP
    while len(waiting):
        longest = int(class_size[query_classes[waiting[0]]])
        n_rows = max(1, chunk_bytes // (n_gallery * bytes_per_key + longest * _BYTES_PER_RELEVANT))
        rows, waiting = waiting[:n_rows], waiting[n_rows:]

        keys = items.keys(rows)  # (q, m)
        with_self = (self_places[rows] >= 0).nonzero()[:, 0]
        keys[with_self, self_places[rows][with_self]] = math.inf
        size, start = class_size[query_classes[rows], None], class_start[query_classes[rows], None]  # (q, 1)
        offsets = torch.arange(longest, device=device)  # (K,)
        is_item = offsets < size  # (q, K)
        columns = start + torch.where(is_item, offsets, 0)
        relevant = keys.gather(1, columns).masked_fill_(~is_item, math.inf)
        keys.scatter_(1, columns, math.inf)  # only the irrelevant ones remain

        before = irrelevant_before(keys, relevant, ties, compiled=compiled)  # (q, K)
        most = int(n_relevant[rows].max())  # K, or K - 1 where each query itself was one of the K
        positions = torch.arange(1, most + 1, device=device)
        ranks = (before[:, :most] + positions).double()
        ranks.masked_fill_(positions > n_relevant[rows, None], math.inf)
        yield RankedChunk(original_rows[rows], ranks, n_relevant[rows])


def _is_compiled(engine: Engine, device: torch.device, n_pairs: int) -> bool:
    if engine == "numba" and device.type != "cpu":
        raise ValueError(f'engine="numba" needs CPU tensors, these are on {device}; use engine="auto"')
    return engine == "numba" or (engine == "auto" and device.type == "cpu" and n_pairs >= _WORTH_COMPILING)
