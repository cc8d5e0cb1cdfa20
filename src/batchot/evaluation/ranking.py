"""Distances between items, and the ranks of the relevant items of each query."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor


def as_tensor(values: Any) -> Tensor:
    """The tensor itself; arrays and lists in the memory of the host, whatever the default device."""
    return values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")


def checked_embeddings(name: str, embeddings: Tensor) -> Tensor:
    """Return the embeddings, detached, in float32 or float64, or say what is wrong with them."""
    embeddings = as_tensor(embeddings).detach()
    if not embeddings.dtype.is_floating_point:
        raise TypeError(
            f"{name} must be floating point embeddings, got {embeddings.dtype}; convert with .float()"
        )
    if embeddings.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {tuple(embeddings.shape)}")
    if embeddings.shape[0] == 0 or embeddings.shape[1] == 0:
        raise ValueError(f"{name} is empty: shape {tuple(embeddings.shape)}")
    finite = torch.isfinite(embeddings).all(dim=1)  # (n,)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        n_bad = int((~finite).sum())
        raise ValueError(
            f"{name} has NaN or infinity in {n_bad} of {len(finite)} rows, the first is row {row}; "
            "a network that diverged does this: look at the loss and the learning rate"
        )
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


def checked_labels(name: str, labels: Tensor, length: int, of: str) -> Tensor:
    """Return the labels as int64, or say what is wrong with them."""
    labels = as_tensor(labels).detach()
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {labels.dtype}; convert with .long()")
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), one label per row, got {tuple(labels.shape)}")
    if len(labels) != length:
        raise ValueError(f"{name} has {len(labels)} entries but {of} has {length}; they must agree")
    return labels.long()


def checked_same_dimension(first_name: str, first: Tensor, second_name: str, second: Tensor) -> None:
    """Raise ValueError unless both sets of embeddings have the same number of columns."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{first_name} and {second_name} have different dimensions: "
            f"{tuple(first.shape)} and {tuple(second.shape)}; embed both with the same network"
        )


Distance = Literal["euclidean", "cosine"]


@dataclass(frozen=True, eq=False)
class Items:
    """Queries and gallery moved, scaled (and for cosine normalised) so that a matrix product is accurate."""

    query: Tensor  # (n, d)
    gallery: Tensor  # (u, d) the m items, or where some are equal the u different ones
    norms: Tensor  # (u,) squared norms
    copies: Tensor | None = None  # (m,) which of the u different items each is; None if all m are different
    by_ratio: bool = False  # cosines of whole numbers of several lengths: rows are not normalised

    def keys(self, rows: Tensor) -> Tensor:
        """Return ``||g_j||^2 - 2 <q_i, g_j>``, which orders the gallery of each query as the distance does."""
        if self.by_ratio:
            keys = self.query[rows] @ self.gallery.T  # (q, m)
            return keys.mul_(keys.abs()).div_(-self.norms)
        keys = torch.addmm(self.norms, self.query[rows], self.gallery.T, alpha=-2)  # (q, u)
        return keys if self.copies is None else keys[:, self.copies]


def comparable_items(query: Tensor, gallery: Tensor, distance: Distance) -> Items:
    r"""Prepare embeddings so that squared distances by a matrix product do not cancel."""
    if distance not in get_args(Distance):
        raise ValueError(f"distance must be one of {get_args(Distance)}, got {distance!r}")
    checked_same_dimension("query", query, "gallery", gallery)
    same = gallery is query
    dtype = torch.promote_types(query.dtype, gallery.dtype)
    query = query.to(dtype)
    gallery = query if same else gallery.to(query)
    if distance == "cosine":
        for name, x in (("query", query), ("gallery", gallery)):
            _refuse_zeros(name, x)
    exact = _exact_items(query, gallery, distance)
    if exact is not None:
        return exact
    if distance == "cosine":
        query = _normalized(query)
        gallery = query if same else _normalized(gallery)
    scale = _power_of_two(max(_largest(query), _largest(gallery)), dtype)
    moved_query, moved_gallery = _moved(query * scale, None if same else gallery * scale)
    # A product may sum in an order that depends on the column, so that equal items would differ in the last
    # bit and their ties be broken at random: the distance to equal items is computed once.
    different, copies = moved_gallery.unique(dim=0, return_inverse=True)
    if len(different) == len(gallery):
        return Items(moved_query, moved_gallery, moved_gallery.square().sum(dim=1))
    return Items(moved_query, different, different.square().sum(dim=1), copies)


def _exact_items(query: Tensor, gallery: Tensor, distance: Distance) -> Items | None:
    """Return items of whole numbers all of whose keys are exact, None where there are none such."""
    same = gallery is query
    # embeddings are rarely whole numbers, and eight rows tell
    if _whole_numbers(torch.cat([query[:8], gallery[:8]]), distance) is None:
        return None
    whole = _whole_numbers(query if same else torch.cat([query, gallery]), distance)  # (n + m, d) float64
    if whole is None:
        return None
    by_ratio = False
    query, gallery = whole[: len(query)], whole if same else whole[len(query) :]
    if distance == "cosine":
        norms = gallery.square().sum(dim=1)
        by_ratio = bool((norms != norms[0]).any())
    else:
        query, gallery = _moved(query, None if same else gallery)
        norms = gallery.square().sum(dim=1)
    longest = float(norms.max())
    product = math.sqrt(longest * float(query.square().sum(dim=1).max()))  # no partial sum is larger
    if by_ratio:
        # a ratio of whole numbers is rounded rightly where both are exact, so equal ratios stay equal;
        # different ones stay different in float32 if their parts leave it bits enough, else in float64
        narrow, exact = product**2 * longest < 2**23, product**2 < 2**53
    else:
        narrow, exact = longest + 2 * product < 2**24, longest + 2 * product < 2**53
    if not exact:
        return None
    dtype = torch.float32 if narrow else torch.float64
    query, gallery = query.to(dtype), query.to(dtype) if same else gallery.to(dtype)
    return Items(query, gallery, norms.to(dtype), by_ratio=by_ratio)


def _whole_numbers(x: Tensor, distance: Distance) -> Tensor | None:
    """Return ``x``, for cosine each row of it, over the largest step found that makes whole numbers of it."""
    shape = x.shape
    x = x.double() if distance == "cosine" else x.double().reshape(1, -1)
    smallest = x.abs().masked_fill_(x == 0, math.inf).amin(dim=1, keepdim=True)  # codes of +-c for any c
    whole = x / smallest
    other = (whole != whole.round()).any(dim=1)
    if bool(other.any()):  # the lowest bit that is set
        bits = x[other] * _power_of_two(_largest(x), x.dtype) * 2.0**53
        if bool((bits != bits.round()).any()):
            return None
        bits = bits.long()
        steps = (bits & -bits).masked_fill_(bits == 0, 2**62).amin(dim=1, keepdim=True)
        whole[other] = (bits // steps).double()
    return whole.reshape(shape) if _largest(whole) < 2**26 else None


def _moved(query: Tensor, gallery: Tensor | None) -> tuple[Tensor, Tensor]:
    """Move both in place by the gallery item nearest to the mean; the gallery is the queries where None."""
    moved = query if gallery is None else gallery
    # cancellation here only means that another item is taken
    to_mean = torch.linalg.vector_norm(moved, dim=1).square()  # (m,)
    to_mean -= 2 * (moved @ moved.mean(dim=0))
    centre = moved[to_mean.argmin()].clone()  # (d,)
    moved -= centre
    return moved if gallery is None else query.sub_(centre), moved


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Within: no gradient, no autocast, no TF32 or bfloat16 inside a float32 product; all restored after."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False), _ieee_products():
        yield


@contextmanager
def _ieee_products() -> Iterator[None]:
    backends: list[Any] = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    if all(hasattr(backend, "fp32_precision") for backend in backends):  # PyTorch 2.9 and later
        # the setting per backend is right whichever of PyTorch's two interfaces the user set it with, whereas
        # get_float32_matmul_precision raises if that was the newer one
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "ieee"
            yield
        finally:
            for backend, precision in zip(backends, before, strict=True):
                backend.fp32_precision = precision
    else:
        legacy = torch.get_float32_matmul_precision()
        try:
            torch.set_float32_matmul_precision("highest")
            yield
        finally:
            torch.set_float32_matmul_precision(legacy)


def _refuse_zeros(name: str, x: Tensor) -> None:
    zero = (x == 0).all(dim=1)
    if bool(zero.any()):
        row = int(zero.nonzero()[0])
        raise ValueError(f'{name} row {row} is all zeros and has no direction; use distance="euclidean"')


def _normalized(x: Tensor) -> Tensor:
    x = x / x.abs().amax(dim=1, keepdim=True)  # so that the norm neither overflows nor vanishes
    return x.div_(torch.linalg.vector_norm(x, dim=1, keepdim=True))


def _largest(x: Tensor) -> float:
    low, high = torch.aminmax(x)
    return max(-float(low), float(high))


def _power_of_two(largest: float, dtype: torch.dtype) -> float:
    limit = 120 if dtype == torch.float32 else 1000  # the factor itself must not overflow
    exponent = math.frexp(largest)[1]
    return math.ldexp(1.0, -max(-limit, min(limit, exponent)))


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
