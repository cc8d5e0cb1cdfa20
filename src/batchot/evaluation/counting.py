"""How many irrelevant items stand before each relevant one: the inner loop of every retrieval measure."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Ties = Literal["pessimistic", "optimistic"]


def irrelevant_before(keys: Tensor, relevant: Tensor, ties: Ties, *, compiled: bool) -> Tensor:
    """Count, for the k-th nearest relevant item of each query, the irrelevant items that rank before it.

    No sort of ``keys`` is needed: each irrelevant key falls in one of the gaps between the sorted relevant
    keys, and the cumulated gap counts are the answer.

    Args:
        keys: ``(q, m)`` distances of the irrelevant items; ``inf`` where an item does not take part.
        relevant: ``(q, K)`` distances of the relevant items in any order, filled up with ``inf``; may be
            sorted in place.
        ties: "pessimistic" counts an irrelevant item at the same distance as before, "optimistic" does not.
        compiled: use the numba kernel (CPU tensors only) and not plain PyTorch; the result is the same.

    Returns:
        ``(q, K)`` integers ascending along each row; what stands at a filled-up place has no meaning.

    Example:
        >>> keys, relevant = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[3.0, 2.0]])
        >>> irrelevant_before(keys, relevant, "pessimistic", compiled=False)
        tensor([[2, 2]])
        >>> irrelevant_before(keys, relevant, "optimistic", compiled=False)
        tensor([[1, 2]])
    """
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
