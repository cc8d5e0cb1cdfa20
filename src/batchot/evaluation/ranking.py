"""Ranks of the relevant items of each query."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from batchot.evaluation.distances import Distance, comparable_items

Ties = Literal["pessimistic", "optimistic"]


def irrelevant_before(keys: Tensor, relevant: Tensor, ties: Ties, *, compiled: bool) -> Tensor:
    """Count, for the k-th nearest relevant item of each query, the irrelevant items that rank before it."""
    if compiled:
        return _compiled_counts(keys, relevant, ties)
    relevant = relevant.sort(dim=1).values
    # the gap of x is the first k with relevant_k >= x (pessimistic) or > x (optimistic)
    gap = torch.searchsorted(relevant, keys, right=ties == "optimistic")  # (q, m), K = after all of them
    counts = relevant.new_zeros(len(keys), relevant.shape[1] + 1, dtype=torch.int32)
    one = torch.ones((), dtype=torch.int32, device=keys.device)
    counts.scatter_add_(1, gap, one.expand_as(gap))
    return counts[:, :-1].cumsum(dim=1)


def _compiled_counts(keys: Tensor, relevant: Tensor, ties: Ties) -> Tensor:
    kernel = _kernel()
    keys_array, relevant_array = keys.numpy(), relevant.numpy()
    counts = np.zeros(relevant_array.shape, dtype=np.int64)
    n_threads = max(1, min(torch.get_num_threads(), len(counts)))
    edges = np.linspace(0, len(counts), n_threads + 1).astype(int)

    def work(block: slice) -> None:
        relevant_array[block].sort(axis=1)
        kernel(keys_array[block], relevant_array[block], ties == "optimistic", counts[block])

    blocks = [slice(a, b) for a, b in pairwise(edges)]
    with ThreadPoolExecutor(n_threads) as pool:  # numpy's sort and the kernel both release the GIL
        list(pool.map(work, blocks))
    return torch.from_numpy(counts)


@cache
def _kernel() -> Callable[[np.ndarray, np.ndarray, bool, np.ndarray], None]:
    """Compile on first use; numba costs half a second to import."""
    from batchot.compiling import njit

    @njit(nogil=True)
    def count(keys, relevant, optimistic, counts):  # type: ignore[no-untyped-def]
        n_rows, n_keys = keys.shape
        n_relevant = relevant.shape[1]
        n_cells = 2 * n_relevant
        first = np.empty(n_cells + 2, dtype=np.int64)
        for i in range(n_rows):
            r, c = relevant[i], counts[i]
            k_end = n_relevant
            while k_end > 0 and r[k_end - 1] == np.inf:
                k_end -= 1
            if k_end == 0:
                continue
            # A table of equal cells over [low, high] narrows the search to the relevant keys in the cell of
            # x. The cell is a monotone function of x also after rounding, so the answer is exact; a binary
            # search within the cell keeps the worst case at log K.
            low, high = r[0], r[k_end - 1]
            scale = n_cells / (high - low) if high > low else 0.0
            if np.isinf(scale):
                scale = 0.0
            cell = 0
            for k in range(k_end):
                at = int((r[k] - low) * scale)
                while cell <= at:
                    first[cell] = k
                    cell += 1
            while cell <= n_cells + 1:
                first[cell] = k_end
                cell += 1
            for j in range(n_keys):
                x = keys[i, j]
                if x > high:
                    continue
                if x < low:
                    c[0] += 1
                    continue
                at = int((x - low) * scale)
                a, b = first[at], first[at + 1]
                while a < b:
                    middle = (a + b) >> 1
                    if r[middle] < x or (optimistic and r[middle] == x):
                        a = middle + 1
                    else:
                        b = middle
                if a < k_end:
                    c[a] += 1
            for k in range(1, n_relevant):
                c[k] += c[k - 1]

    return count


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
    """Return how many gallery items share each query's class, the query itself not counted."""
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
    """Rank the relevant items of every query that has one, a chunk of queries at a time."""
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
