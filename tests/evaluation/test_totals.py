"""Queries of one modality against a gallery of another: the averages over queries, over classes, of each class."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from batchot.evaluation import RetrievalScores, retrieval_scores
from oracles.retrieval import NAMES, NaiveScores, naive_retrieval_scores

ABSENT, DISTRACTOR = 90, 95


def sketches_and_shapes(seed: int, n: int = 41, m: int = 67) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unequal classes, one that only the queries have, two that only the gallery has; many equal distances."""
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, generator=g).pow(2) * 6).long() * 5 - 5
    z = (torch.rand(m, generator=g).pow(2) * 6).long() * 5 - 5
    y[:3], z[:9], z[9:11] = ABSENT, DISTRACTOR, DISTRACTOR + 1
    x = torch.randn(n, 4, generator=g, dtype=torch.float64) + y.clamp(max=30)[:, None] / 9
    gallery = torch.randn(m, 4, generator=g, dtype=torch.float64) + z.clamp(max=30)[:, None] / 9 + 0.3
    return x.round(), y, gallery.round(), z


def naive(x: Tensor, y: Tensor, gallery: Tensor, z: Tensor, **options: bool) -> NaiveScores:
    own = [-1] * len(x)
    return naive_retrieval_scores(x.tolist(), y.tolist(), gallery.tolist(), z.tolist(), own, **options)


def assert_agree(scores: RetrievalScores, expected: NaiveScores) -> None:
    for ours, means in ((scores, expected.micro), (scores.macro, expected.macro)):
        assert [getattr(ours, name) for name in NAMES] == pytest.approx(
            [means[name] for name in NAMES], abs=1e-6
        )
    of_class = scores.per_class
    found = {
        label: {name: float(getattr(of_class, name)[i]) for name in NAMES}
        for i, label in enumerate(of_class.labels.tolist())
        if of_class.n_queries[i] > 0
    }
    assert found.keys() == expected.per_class.keys()
    for label, means in expected.per_class.items():
        assert found[label] == pytest.approx(means, abs=1e-6)


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("absent", ["skip", "zero"])
@pytest.mark.parametrize("convention", ["relevant", "shrec13"])
@pytest.mark.parametrize("chunk_bytes", [3_000, 2**28])
def test_equals_the_naive_loops(
    engine: Literal["torch", "numba"],
    absent: Literal["skip", "zero"],
    convention: Literal["relevant", "shrec13"],
    chunk_bytes: int,
) -> None:
    problem = sketches_and_shapes(0)
    scores = retrieval_scores(
        *problem, engine=engine, absent=absent, ap_convention=convention, chunk_bytes=chunk_bytes
    )
    assert_agree(scores, naive(*problem, absent_is_zero=absent == "zero", ap_padded=convention == "shrec13"))
    assert scores.n_skipped == (3 if absent == "skip" else 0)
    assert scores.ap_convention == convention


@given(
    queries=st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 4)), min_size=1, max_size=12),
    shapes=st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 6)), min_size=1, max_size=20),
    padded=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_equals_the_naive_loops_on_anything_small(
    queries: list[tuple[int, int]], shapes: list[tuple[int, int]], padded: bool
) -> None:
    x, y = (torch.tensor([q[i] for q in queries]) for i in (0, 1))
    gallery, z = (torch.tensor([s[i] for s in shapes]) for i in (0, 1))
    problem = (x.float()[:, None], y, gallery.float()[:, None], z)
    if not set(y.tolist()) & set(z.tolist()):
        with pytest.raises(ValueError, match="has a relevant item in the gallery"):
            retrieval_scores(*problem)
        return
    scores = retrieval_scores(*problem, ap_convention="shrec13" if padded else "relevant")
    assert_agree(scores, naive(*problem, ap_padded=padded))


def test_padded_average_precision_by_hand() -> None:
    # ranks: 1 and 3 of the query with C = 2, then 2, 4 and 5 of the one with C = 3, which is the largest
    gallery = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    labels = torch.tensor([0, 1, 0, 1, 1])
    scores = retrieval_scores(
        torch.zeros(2, 1), torch.tensor([0, 1]), gallery, labels, ap_convention="shrec13"
    )
    assert scores.per_query.ap.tolist() == pytest.approx([(1 + 2 / 3 + 0) / 3, (1 / 2 + 2 / 4 + 3 / 5) / 3])


def test_the_convention_changes_ap_and_nothing_else() -> None:
    problem = sketches_and_shapes(1)
    usual, padded = retrieval_scores(*problem), retrieval_scores(*problem, ap_convention="shrec13")
    assert usual.ap_convention == "relevant"
    C = usual.per_query.n_relevant
    shrunk = usual.per_query.ap * C / C.max()
    assert torch.allclose(padded.per_query.ap, shrunk, equal_nan=True)
    assert padded.map < usual.map
    for name in ("nn", "ft", "st", "e", "dcg"):
        assert getattr(padded, name) == getattr(usual, name)
        assert getattr(padded.macro, name) == getattr(usual.macro, name)
    assert torch.equal(padded.pr_curve.precision, usual.pr_curve.precision)


def test_classes_of_equal_size_have_one_average_precision() -> None:
    x, labels = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4
    usual = retrieval_scores(x, labels)
    assert retrieval_scores(x, labels, ap_convention="shrec13").map == pytest.approx(usual.map)


def test_per_class_lists_the_classes_of_the_queries_and_what_is_there_of_them() -> None:
    x, y, gallery, z = sketches_and_shapes(2)
    scores = retrieval_scores(x, y, gallery, z)
    of_class = scores.per_class
    assert of_class.labels.tolist() == y.unique().tolist()
    assert of_class.n_gallery.tolist() == [int((z == label).sum()) for label in of_class.labels]
    last = of_class.labels.tolist().index(ABSENT)
    assert (of_class.n_queries[last], of_class.n_gallery[last]) == (0, 0)
    assert math.isnan(of_class.map[last])
    counted = of_class.n_queries > 0
    assert int(of_class.n_queries.sum()) == scores.n_queries
    for name in NAMES:
        values = getattr(of_class, name)[counted]
        assert float(values.mean()) == pytest.approx(getattr(scores.macro, name))
        weighted = (values * of_class.n_queries[counted]).sum() / scores.n_queries
        assert float(weighted) == pytest.approx(getattr(scores, name))


def test_per_class_without_a_gallery_counts_the_query_as_an_item() -> None:
    x, y = torch.tensor([[0.0], [0.1], [5.0]]), torch.tensor([4, 4, 2])
    of_class = retrieval_scores(x, y).per_class
    assert of_class.labels.tolist() == [2, 4]
    assert of_class.n_gallery.tolist() == [1, 2]
    assert of_class.n_queries.tolist() == [0, 2]
    assert of_class.map[1] == 1


def test_distractors_lower_the_scores_and_are_in_no_average() -> None:
    x, y, gallery, z = sketches_and_shapes(3)
    known = torch.isin(z, y)
    without = retrieval_scores(x, y, gallery[known], z[known])
    scores = retrieval_scores(x, y, gallery, z)
    assert scores.map < without.map
    assert torch.equal(scores.per_class.labels, without.per_class.labels)
    assert DISTRACTOR not in scores.per_class.labels.tolist()
    far = gallery.clone()
    far[~known] = 1e4
    moved = retrieval_scores(x, y, far, z)
    assert moved.map == pytest.approx(without.map)


def test_an_unknown_convention_is_told() -> None:
    x, y, gallery, z = sketches_and_shapes(0)
    with pytest.raises(
        ValueError, match=r"ap_convention must be one of \('relevant', 'shrec13'\), got 'padded'"
    ):
        retrieval_scores(x, y, gallery, z, ap_convention="padded")  # type: ignore[arg-type]
