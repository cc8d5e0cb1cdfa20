"""Where the numbers are exact, so are ties: against fractions, whatever the chunks, the dtype and the order."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from batchot.evaluation import retrieval_scores
from batchot.evaluation.ranking import comparable_items

Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[Distance, ...] = ("euclidean", "cosine")


def exact_map(
    query: Tensor, y: Tensor, gallery: Tensor, z: Tensor, distance: Distance, step: float = 1
) -> float:
    """Return mAP by fractions, each query its own gallery item left out; irrelevant items first where tied."""
    x, g = ([[round(v / step) for v in row] for row in part.tolist()] for part in (query, gallery))
    precisions = []
    for i, a in enumerate(x):
        ranking = []
        for j, b in enumerate(g):
            dot = sum(u * v for u, v in zip(a, b, strict=True))
            if distance == "euclidean":
                key = Fraction(sum((u - v) ** 2 for u, v in zip(a, b, strict=True)))
            else:
                key = -Fraction(dot * abs(dot), sum(v * v for v in b))
            if i != j:
                ranking.append((key, int(y[i] == z[j])))
        hits = [relevant for _, relevant in sorted(ranking)]
        if sum(hits):
            at = [sum(hits[:k]) / k for k in range(1, len(hits) + 1) if hits[k - 1]]
            precisions.append(sum(at) / len(at))
    return sum(precisions) / len(precisions)


def numbers(kind: str, n: int = 90) -> tuple[Tensor, Tensor, float]:
    """Return embeddings with many equal distances, labels, and the step of which all entries are multiples."""
    g = torch.Generator().manual_seed(0)
    bits = (torch.randn(n, 12, generator=g) > 0).float()
    bits[(bits == 0).all(dim=1), 0] = 1
    x, step = {
        "codes of +-1": (2 * bits - 1, 1.0),
        "codes of 0 and 1": (bits, 1.0),
        "codes of unit length": ((2 * bits - 1) / 12**0.5, 12**-0.5),
        "small integers": (torch.randint(-3, 4, (n, 3), generator=g).float(), 1.0),
        "eighths": (torch.randint(1, 9, (n, 2), generator=g).float() / 8, 1 / 8),
        "counts": (torch.randint(0, 2000, (n, 2), generator=g).float() // 100 * 100 + 100, 1.0),
        "pixels": (torch.randint(0, 256, (n, 300), generator=g).float(), 1.0),
    }[kind]
    x[(x == 0).all(dim=1)] = step
    return x, torch.randint(0, 5, (n,), generator=g), step


KINDS = (
    "codes of +-1",
    "codes of 0 and 1",
    "codes of unit length",
    "small integers",
    "eighths",
    "counts",
    "pixels",
)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_value_whatever_the_chunks_the_dtype_the_engine_and_the_order(
    kind: str, distance: Distance
) -> None:
    x, y, step = numbers(kind)
    expected = exact_map(x, y, x, y, distance, step)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    for dtype in (torch.float32, torch.float64):
        for chunk_bytes in (1, 30_000, 2**28):
            for engine in ("torch", "numba"):
                for rows in (torch.arange(len(x)), order):
                    found = retrieval_scores(
                        x[rows].to(dtype), y[rows], distance=distance, chunk_bytes=chunk_bytes, engine=engine
                    )
                    assert found.map == pytest.approx(expected, abs=1e-12), (dtype, chunk_bytes, engine)


def test_cosine_of_codes_of_plus_and_minus_one_is_as_their_euclidean_distance() -> None:
    g = torch.Generator().manual_seed(3)
    codes = torch.randn(400, 12, generator=g).sign()
    y = torch.randint(0, 10, (400,), generator=g)
    by_distance = [retrieval_scores(codes, y, distance=distance).to_dict() for distance in DISTANCES]
    assert by_distance[0] == pytest.approx(by_distance[1], abs=1e-12)


@given(
    query=st.lists(st.tuples(*[st.integers(-4, 4)] * 3, st.integers(0, 2)), min_size=1, max_size=6),
    gallery=st.lists(st.tuples(*[st.integers(-4, 4)] * 3, st.integers(0, 2)), min_size=7, max_size=20),
    distance=st.sampled_from(DISTANCES),
    scale=st.sampled_from([1.0, 0.125, 3.0, 2.0**70, 1000.0]),
)
@settings(max_examples=80, deadline=None)
def test_integers_of_any_lengths_equal_fractions(
    query: list[tuple[int, ...]], gallery: list[tuple[int, ...]], distance: Distance, scale: float
) -> None:
    x, g = (torch.tensor([row[:3] for row in rows]).float() for rows in (query, gallery))
    y, z = (torch.tensor([row[3] for row in rows]) for rows in (query, gallery))
    if distance == "cosine":
        x[(x == 0).all(dim=1)] = 1
        g[(g == 0).all(dim=1)] = 1
    if not set(y.tolist()) & set(z.tolist()):
        return
    # exact_map leaves out the item with the query's own index
    if not any(y[i] == z[j] for i in range(len(y)) for j in range(len(z)) if i != j):
        return
    found = retrieval_scores(x * scale, y, g * scale, z, distance=distance, self_indices=torch.arange(len(x)))
    assert found.map == pytest.approx(exact_map(x, y, g, z, distance), abs=1e-12)


def test_float32_where_it_is_exact_and_float64_where_it_is_not() -> None:
    codes = torch.randn(50, 64, generator=torch.Generator().manual_seed(0)).sign()
    for distance in DISTANCES:
        assert comparable_items(codes, codes, distance).query.dtype == torch.float32
        assert comparable_items(codes.double(), codes, distance).query.dtype == torch.float32
    pixels, _, _ = numbers("pixels")
    items = comparable_items(pixels, pixels, "cosine")
    assert items.by_ratio and items.query.dtype == torch.float64
    large = pixels.repeat(1, 9)
    assert comparable_items(large, large, "euclidean").query.dtype == torch.float64


@pytest.mark.parametrize("distance", DISTANCES)
def test_numbers_that_are_not_whole_are_ranked_in_their_own_dtype(distance: Distance) -> None:
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    mixed = x.clone()
    mixed[:20] = mixed[:20].round() + 2  # the rows that are looked at first
    for rows in (x, mixed):
        assert not comparable_items(rows, rows, distance).by_ratio
        assert comparable_items(rows, rows, distance).query.dtype == torch.float32
