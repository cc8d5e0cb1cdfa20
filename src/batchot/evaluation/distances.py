"""Squared distances, up to a constant per query, as one matrix product."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from batchot.evaluation.checks import checked_same_dimension

Distance = Literal["euclidean", "cosine"]


@dataclass(frozen=True, eq=False)
class Items:
    """Queries and gallery moved, scaled (and for cosine normalised) so that a matrix product is accurate."""

    query: Tensor  # (n, d)
    gallery: Tensor  # (u, d) the m items, or where some are equal the u different ones
    norms: Tensor  # (u,) squared norms
    copies: Tensor | None  # (m,) which of the u different items each item is; None if all m are different

    def keys(self, rows: Tensor) -> Tensor:
        """Return ``||g_j||^2 - 2 <q_i, g_j>``, which orders the gallery of each query as the distance does.

        The missing ``||q_i||^2`` is the same for the whole row: adding it would only round once more.

        Args:
            rows: ``(q,)`` indices of queries.

        Returns:
            ``(q, m)``.
        """
        keys = torch.addmm(self.norms, self.query[rows], self.gallery.T, alpha=-2)  # (q, u)
        return keys if self.copies is None else keys[:, self.copies]


def comparable_items(query: Tensor, gallery: Tensor, distance: Distance) -> Items:
    r"""Prepare embeddings so that squared distances by a matrix product do not cancel.

    :math:`\|q - g\|^2 = \|q - c\|^2 + \|g - c\|^2 - 2 \langle q - c, g - c \rangle` for every c, and the
    error of the right hand side grows with the norms: c is the gallery item nearest to the mean. An item and
    not the mean itself, because then equal rows stay equal and integers stay integers: ties stay ties, also
    after rounding. All is scaled by one power of two (exact), so that squares neither overflow nor vanish.
    "cosine" is the same on L2-normalised rows, where the squared distance is ``2 - 2 cos``.

    Args:
        query: ``(n, d)`` finite, float32 or float64.
        gallery: ``(m, d)``; may be the same object as ``query``.
        distance: "euclidean" or "cosine".

    Returns:
        Items: in the wider of the two dtypes, on the device of ``query``.

    Raises:
        ValueError: unknown distance, different d, or a row of zeros with "cosine".

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> comparable_items(points, points, "euclidean").keys(torch.tensor([0])).argsort()
        tensor([[0, 1, 2]])
    """
    if distance not in get_args(Distance):
        raise ValueError(f"distance must be one of {get_args(Distance)}, got {distance!r}")
    checked_same_dimension("query", query, "gallery", gallery)
    same = gallery is query
    dtype = torch.promote_types(query.dtype, gallery.dtype)
    query = query.to(dtype)
    gallery = query if same else gallery.to(query)
    if distance == "cosine":
        query = _normalized("query", query)
        gallery = query if same else _normalized("gallery", gallery)
    scale = _power_of_two(max(_largest(query), _largest(gallery)), dtype)
    moved_gallery = gallery * scale
    # the item nearest to the mean; cancellation here only means that another item is taken
    to_mean = torch.linalg.vector_norm(moved_gallery, dim=1).square()  # (m,)
    to_mean -= 2 * (moved_gallery @ moved_gallery.mean(dim=0))
    centre = moved_gallery[to_mean.argmin()].clone()  # (d,)
    moved_gallery -= centre
    moved_query = moved_gallery if same else (query * scale).sub_(centre)
    # A product may sum in an order that depends on the column, so that equal items would differ in the last
    # bit and their ties be broken at random: the distance to equal items is computed once.
    different, copies = moved_gallery.unique(dim=0, return_inverse=True)
    if len(different) == len(gallery):
        return Items(moved_query, moved_gallery, moved_gallery.square().sum(dim=1), copies=None)
    return Items(moved_query, different, different.square().sum(dim=1), copies)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Within: no gradient, no autocast, no TF32 or bfloat16 inside a float32 product; all restored after.

    Users train with ``torch.set_float32_matmul_precision("high")``; distances with 10 bits would rank at
    random.
    """
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


def _normalized(name: str, x: Tensor) -> Tensor:
    largest = x.abs().amax(dim=1, keepdim=True)  # (n, 1)
    if not bool((largest > 0).all()):
        row = int((largest[:, 0] == 0).nonzero()[0])
        raise ValueError(f'{name} row {row} is all zeros and has no direction; use distance="euclidean"')
    x = x / largest  # so that the norm neither overflows nor vanishes
    return x.div_(torch.linalg.vector_norm(x, dim=1, keepdim=True))


def _largest(x: Tensor) -> float:
    low, high = torch.aminmax(x)
    return max(-float(low), float(high))


def _power_of_two(largest: float, dtype: torch.dtype) -> float:
    limit = 120 if dtype == torch.float32 else 1000  # the factor itself must not overflow
    exponent = math.frexp(largest)[1]
    return math.ldexp(1.0, -max(-limit, min(limit, exponent)))
