from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from batchot.evaluation import RetrievalAverages, RetrievalScores, retrieval_scores
from oracles.retrieval import NAMES, NAMES_AT, NaiveScores, naive_retrieval_scores

OF_QUERY = [{"map": "ap", "map_at_r": "ap_at_r", "mrr": "rr"}.get(name, name) for name in NAMES]

SMALL = 4_000  # bytes: a few queries a chunk


def scores_of(x: RetrievalAverages) -> list[float]:
    return [getattr(x, name) for name in NAMES]


def assert_agree(scores: RetrievalScores, naive: NaiveScores, tolerance: float = 1e-6) -> None:
    sides = (
        (scores, naive.micro, naive.micro_curve, naive.micro_precision),
        (scores.macro, naive.macro, naive.macro_curve, naive.macro_precision),
    )
    for ours, means, curve, precision in sides:
        assert scores_of(ours) == pytest.approx([means[name] for name in NAMES], abs=tolerance)
        assert [ours.to_dict()[name] for name in NAMES + NAMES_AT] == pytest.approx(
            [means[name] for name in NAMES + NAMES_AT], abs=tolerance
        )
        assert ours.r_precision == pytest.approx(means["ft"], abs=tolerance)
        assert ours.pr_curve.precision.tolist() == pytest.approx(curve, abs=tolerance)
        assert ours.precision.tolist() == pytest.approx(precision, abs=tolerance)
    assert (scores.n_queries, scores.n_skipped) == (naive.n_queries, naive.n_skipped)
    for i, expected in enumerate(naive.per_query):
        of_query = [getattr(scores.per_query, name)[i].item() for name in OF_QUERY]
        if expected is None:
            assert all(math.isnan(value) for value in of_query)
        else:
            assert of_query == pytest.approx([expected[name] for name in NAMES], abs=tolerance)


def problem(seed: int, n: int, n_classes: int, d: int = 5, *, grid: bool = False) -> tuple[Tensor, Tensor]:
    """Classes of very different size; on a grid many distances are equal."""
    g = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, generator=g).pow(2) * n_classes).long() * 7 - 3
    x = torch.randn(n, d, generator=g, dtype=torch.float64) + labels[:, None] / 7
    return (x.round() if grid else x), labels


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
@pytest.mark.parametrize(
    ("distance", "grid"),
    # cosines of points on a grid are equal only up to rounding, so that the two sides see different ties
    [("euclidean", True), ("euclidean", False), ("cosine", False)],
)
def test_equals_the_naive_loops_without_a_gallery(engine, ties, grid, distance):
    x, y = problem(0, 70, 12, grid=grid)
    y[0] = 1000  # a class of one
    scores = retrieval_scores(x, y, engine=engine, ties=ties, distance=distance, chunk_bytes=SMALL)
    naive = naive_retrieval_scores(
        x.tolist(), y.tolist(), x.tolist(), y.tolist(), range(70),
        distance=distance, pessimistic=ties == "pessimistic",
    )  # fmt: skip
    assert naive.n_skipped >= 1
    assert_agree(scores, naive)


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("absent", ["skip", "zero"])
@pytest.mark.parametrize("some_self", [False, True])
def test_equals_the_naive_loops_with_a_gallery(engine, absent, some_self):
    x, y = problem(1, 30, 8, grid=True)
    g, z = problem(2, 50, 5, grid=True)
    own = torch.where(torch.arange(30) % 3 == 0, torch.arange(30), -1)
    scores = retrieval_scores(
        x, y, g, z, engine=engine, absent=absent, self_indices=own if some_self else None, chunk_bytes=SMALL
    )
    naive = naive_retrieval_scores(
        x.tolist(), y.tolist(), g.tolist(), z.tolist(), own.tolist() if some_self else [-1] * 30,
        absent_is_zero=absent == "zero",
    )  # fmt: skip
    assert (scores.per_query.n_relevant == 0).any()
    assert_agree(scores, naive)


@pytest.mark.parametrize("engine", ["torch", "numba"])
def test_large_classes_where_the_first_32_are_not_all_there_is(engine):
    x, y = problem(3, 180, 3, d=2)
    scores = retrieval_scores(x, y, engine=engine)
    assert_agree(scores, naive_retrieval_scores(x.tolist(), y.tolist(), x.tolist(), y.tolist(), range(180)))


def test_measures_of_one_ranking_by_hand():
    # ranks of the relevant: 1, 3, 6 of 6
    gallery = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    scores = retrieval_scores(torch.zeros(1, 1), torch.tensor([1]), gallery, torch.tensor([1, 0, 1, 0, 0, 1]))
    assert scores.nn == 1
    assert scores.ft == pytest.approx(2 / 3)
    assert scores.st == pytest.approx(1)
    assert scores.e == pytest.approx(2 * 3 / (6 + 3))  # 6 < 32 items: P = 3/6, R = 1
    dcg = (1 + 1 / math.log2(3) + 1 / math.log2(6)) / (1 + 1 + 1 / math.log2(3))
    assert scores.dcg == pytest.approx(dcg)
    assert scores.map == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert scores.map_at_r == pytest.approx((1 + 2 / 3) / 3)
    assert scores.mrr == 1
    assert scores.map_at[2] == pytest.approx(1 / 2)
    assert scores.map_at[5] == pytest.approx((1 + 2 / 3) / 3)
    assert scores.map_at[1000] == scores.map
    assert [scores.precision_at_k(k) for k in range(1, 7)] == pytest.approx(
        [1, 1 / 2, 2 / 3, 1 / 2, 2 / 5, 1 / 2]
    )
    assert scores.pr_curve.recall.tolist() == pytest.approx([i / 20 for i in range(21)])
    assert scores.pr_curve.precision.tolist() == pytest.approx([1] * 7 + [2 / 3] * 7 + [1 / 2] * 7)


def test_e_counts_the_first_32_only():
    # 40 relevant items first, then 60 others: P = 1, R = 32/40
    gallery = torch.arange(1.0, 101.0)[:, None]
    scores = retrieval_scores(torch.zeros(1, 1), torch.tensor([0]), gallery, (torch.arange(100) >= 40).long())
    assert scores.e == pytest.approx(2 * 0.8 / 1.8)


def test_second_tier_ends_with_the_gallery():
    gallery = torch.tensor([[3.0], [1.0], [2.0], [4.0]])  # 2C = 6 > 4
    scores = retrieval_scores(torch.zeros(1, 1), torch.tensor([0]), gallery, torch.tensor([0, 1, 0, 0]))
    assert scores.st == 1
    assert scores.ft == pytest.approx(2 / 3)


def test_own_item_is_left_out_by_index_and_a_duplicate_is_not():
    x = torch.tensor([[0.0], [0.0], [5.0], [9.0]])
    scores = retrieval_scores(x, torch.tensor([0, 0, 1, 1]))
    assert scores.per_query.nn[:2].tolist() == [1, 1]
    # with the same items as an explicit gallery each query finds itself first
    assert retrieval_scores(
        x, torch.tensor([0, 1, 2, 3]), x, torch.tensor([0, 1, 2, 3])
    ).map == pytest.approx(0.75)
    own = retrieval_scores(
        x, torch.tensor([0, 0, 1, 1]), x, torch.tensor([0, 0, 1, 1]), self_indices=torch.arange(4)
    )
    assert scores_of(own) == scores_of(scores)


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_collapsed_embedding_gains_nothing(engine, dtype):
    # 0.1 is not exact in any of the dtypes, and 3.7e4 is far from the origin
    x = torch.tensor([0.1, 3.7e4, -1e-3]).to(dtype).expand(300, 3)
    y = torch.arange(300) % 3
    worst = retrieval_scores(x, y, engine=engine)
    best = retrieval_scores(x, y, engine=engine, ties="optimistic")
    # all 200 irrelevant ones first: the k-th of the 99 relevant ones has rank 200 + k
    assert worst.map == pytest.approx(sum(k / (200 + k) for k in range(1, 100)) / 99)
    assert worst.nn == worst.ft == worst.e == 0
    assert scores_of(best)[:3] == [1, 1, 1]
    assert best.map == 1


@given(
    points=st.lists(
        st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=25
    ),
    order=st.randoms(use_true_random=False),
    offset=st.sampled_from([0, 7, 1000]),
    ties=st.sampled_from(["pessimistic", "optimistic"]),
)
@settings(max_examples=60, deadline=None)
def test_permutation_of_gallery_and_bounds_and_naive_loops(points, order, offset, ties):
    x = torch.tensor([p[:2] for p in points]).float() + offset
    y = torch.tensor([p[2] for p in points])
    scores = retrieval_scores(x, y, x, y, ties=ties)
    p = list(range(len(points)))
    order.shuffle(p)
    assert scores_of(retrieval_scores(x, y, x[p], y[p], ties=ties)) == pytest.approx(
        scores_of(scores), abs=1e-12
    )
    for averages in (scores, scores.macro):
        values = torch.tensor([*scores_of(averages), *averages.pr_curve.precision, *averages.precision])
        assert bool(((values >= 0) & (values <= 1)).all())
    naive = naive_retrieval_scores(
        x.tolist(), y.tolist(), x.tolist(), y.tolist(), [-1] * len(p), pessimistic=ties == "pessimistic"
    )
    assert_agree(scores, naive)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("chunk_bytes", [1, 2**28])
def test_duplicates_tie_wherever_they_stand(dtype, distance, chunk_bytes):
    """A matrix product alone gives equal items distances that differ in the last bit."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 33, generator=g).to(dtype)
    gallery = x[torch.randint(0, 40, (203,), generator=g)]
    y, z = torch.randint(0, 3, (40,), generator=g), torch.randint(0, 3, (203,), generator=g)
    scores = scores_of(retrieval_scores(x, y, gallery, z, distance=distance, chunk_bytes=chunk_bytes))
    for seed in range(5):
        p = torch.randperm(203, generator=torch.Generator().manual_seed(seed))
        permuted = retrieval_scores(x, y, gallery[p], z[p], distance=distance, chunk_bytes=chunk_bytes)
        assert scores_of(permuted) == pytest.approx(scores, abs=1e-12)


@given(sizes=st.lists(st.integers(2, 9), min_size=1, max_size=6), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_perfect_retrieval_is_one(sizes, seed):
    y = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = torch.randn(len(y), 2, generator=torch.Generator().manual_seed(seed)) * 0.01
    x[:, 0] += 100 * y
    scores = retrieval_scores(x, y)
    for averages in (scores, scores.macro):
        assert [averages.nn, averages.ft, averages.st, averages.dcg, averages.map] == pytest.approx([1] * 5)
        assert averages.pr_curve.precision.tolist() == [1] * 21


def test_macro_weighs_classes_equally():
    # 8 queries of class 0 find each other, the 2 of class 1 lie on either side of them
    x = torch.cat([torch.linspace(0, 1, 8), torch.tensor([-0.5, 1.5])])[:, None]
    scores = retrieval_scores(x, torch.tensor([0] * 8 + [1] * 2))
    assert scores.nn == pytest.approx(0.8)
    assert scores.macro.nn == pytest.approx(0.5)


@pytest.mark.parametrize("engine", ["torch", "numba"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_chunk_size_changes_nothing(engine, distance):
    x, y = problem(5, 200, 9)
    whole = retrieval_scores(x, y, engine=engine, distance=distance)
    for chunk_bytes in (1, 10_000, 100_000):
        parts = retrieval_scores(x, y, engine=engine, distance=distance, chunk_bytes=chunk_bytes)
        assert scores_of(parts) == pytest.approx(scores_of(whole), abs=1e-12)
        assert scores_of(parts.macro) == pytest.approx(scores_of(whole.macro), abs=1e-12)
        assert torch.allclose(parts.macro.precision, whole.macro.precision, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(dtype):
    x, y = problem(6, 90, 4)
    x = x.to(dtype)
    exact = x.double().tolist()  # what the rounded numbers are
    naive = naive_retrieval_scores(exact, y.tolist(), exact, y.tolist(), range(90))
    assert_agree(retrieval_scores(x, y), naive)


def test_mixed_dtypes_take_the_wider():
    x, y = problem(6, 40, 4)
    mixed = retrieval_scores(x.float(), y, x, y)
    assert scores_of(mixed) == pytest.approx(scores_of(retrieval_scores(x, y, x, y)), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_scale_of_the_embedding_changes_nothing(scale, distance):
    x, y = problem(7, 80, 4)
    x = x.float()
    scaled = retrieval_scores(x * scale, y, distance=distance)
    assert scores_of(scaled) == pytest.approx(scores_of(retrieval_scores(x, y, distance=distance)), abs=1e-3)


def test_an_offset_does_not_cancel():
    x, y = problem(8, 100, 4)
    x = (x * 64).round() / 64  # on a grid that float32 still holds at 4096
    moved = retrieval_scores(x.float() + 4096, y)
    assert scores_of(moved) == scores_of(retrieval_scores(x.float(), y))


def test_distance_cosine_ignores_lengths():
    x, y = problem(9, 60, 4)
    lengths = torch.rand(60, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    assert scores_of(retrieval_scores(x * lengths, y, distance="cosine")) == pytest.approx(
        scores_of(retrieval_scores(x, y, distance="cosine"))
    )
    assert retrieval_scores(x * lengths, y).map != pytest.approx(retrieval_scores(x, y).map, abs=1e-4)


def test_average_precision_is_that_of_torchmetrics():
    from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_r_precision

    x, y = problem(10, 60, 5)
    scores = retrieval_scores(x, y)
    closeness = 1 / (1 + torch.cdist(x, x))  # torchmetrics leaves out items whose score is not positive
    for i in range(60):
        others = torch.arange(60) != i
        if scores.per_query.n_relevant[i] > 0:
            relevant = y[others] == y[i]
            ap = retrieval_average_precision(closeness[i, others], relevant)
            assert scores.per_query.ap[i].item() == pytest.approx(ap.item(), abs=1e-6)
            r_precision = retrieval_r_precision(closeness[i, others], relevant)
            assert scores.per_query.ft[i].item() == pytest.approx(r_precision.item(), abs=1e-6)


def test_measures_at_k_are_those_of_torchmetrics():
    from torchmetrics.functional.retrieval import (
        retrieval_average_precision,
        retrieval_hit_rate,
        retrieval_reciprocal_rank,
    )

    x, y = problem(10, 60, 9)
    counted = retrieval_scores(x, y).per_query.n_relevant > 0
    closeness = 1 / (1 + torch.cdist(x, x))
    for k in (1, 3, 10, 59):
        found, precision, reciprocal = [], [], []
        for i in counted.nonzero()[:, 0].tolist():
            others = torch.arange(60) != i
            near, relevant = closeness[i, others], y[others] == y[i]
            found.append(retrieval_hit_rate(near, relevant, top_k=k))
            reciprocal.append(retrieval_reciprocal_rank(near, relevant))
            # torchmetrics divides by the number found, and not by the most that could be
            n_found = relevant[near.topk(k).indices].sum()
            share = n_found / min(k, int(relevant.sum()))
            precision.append(retrieval_average_precision(near, relevant, top_k=k) * share)
        scores = retrieval_scores(x, y, at=[k])
        assert scores.recall_at[k] == pytest.approx(torch.stack(found).mean().item(), abs=1e-6)
        assert scores.map_at[k] == pytest.approx(torch.stack(precision).mean().item(), abs=1e-6)
        assert scores.mrr == pytest.approx(torch.stack(reciprocal).mean().item(), abs=1e-6)


@pytest.mark.parametrize("averaged", ["queries", "classes"])
def test_measures_are_those_of_pytorch_metric_learning(averaged):
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    x, y = problem(15, 150, 12)
    x, y = x.float(), (y - y.min()) // 7
    y[0] = 20  # a class of one is left out by both
    calculator = AccuracyCalculator(
        include=("mean_average_precision_at_r", "mean_reciprocal_rank", "precision_at_1", "r_precision"),
        avg_of_avgs=averaged == "classes",
        device=torch.device("cpu"),
        k=149,
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
    )
    theirs = calculator.get_accuracy(x, y)
    scores = retrieval_scores(x, y)
    ours = scores if averaged == "queries" else scores.macro
    assert ours.map_at_r == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-6)
    assert ours.mrr == pytest.approx(theirs["mean_reciprocal_rank"], abs=1e-6)
    assert ours.recall_at[1] == pytest.approx(theirs["precision_at_1"], abs=1e-6)
    assert ours.r_precision == pytest.approx(theirs["r_precision"], abs=1e-6)


def test_map_at_k_is_the_mean_precision_of_the_first_k_and_recall_any_of_them():
    # relevant: ranks 2, 3 and 7 of 8
    gallery = torch.arange(1.0, 9.0)[:, None]
    labels = torch.tensor([0, 1, 1, 0, 0, 0, 1, 0])
    scores = retrieval_scores(torch.zeros(1, 1), torch.tensor([1]), gallery, labels, at=range(1, 11))
    expected = [0, 1 / 4, (1 / 2 + 2 / 3) / 3] + [(1 / 2 + 2 / 3) / 3] * 3
    expected += [(1 / 2 + 2 / 3 + 3 / 7) / 3] * 4
    assert list(scores.map_at.values()) == pytest.approx(expected)
    assert list(scores.recall_at.values()) == [0] + [1] * 9
    assert scores.mrr == 1 / 2
    assert scores.map_at[3] == scores.map_at_r and scores.map_at[10] == scores.map


def test_scores_as_one_flat_dictionary_of_numbers():
    scores = retrieval_scores(*problem(16, 40, 4), at=[1, 7])
    flat = scores.to_dict()
    assert all(type(value) in (float, int) for value in flat.values())
    one = {*NAMES, "recall_at_1", "recall_at_7", "map_at_1", "map_at_7"}
    assert flat.keys() == one | {f"macro_{name}" for name in one} | {"n_queries", "n_skipped"}
    assert flat["map_at_7"] == scores.map_at[7] and flat["macro_recall_at_7"] == scores.macro.recall_at[7]
    assert flat["st"] == scores.st and flat["macro_mrr"] == scores.macro.mrr
    assert flat["n_queries"] == scores.n_queries
    assert flat["map"] != flat["macro_map"]


def test_a_k_that_was_not_measured_is_told():
    scores = retrieval_scores(*problem(16, 40, 4), at=[1, 7])
    with pytest.raises(KeyError, match=r"at k = 1, 7 only; ask for 10 by at=\[10\]"):
        scores.recall_at[10]


def test_gradients_autocast_and_user_settings_are_left_alone():
    x, y = problem(11, 50, 4)
    x = x.float().requires_grad_()
    before = torch.get_float32_matmul_precision()
    expected = scores_of(retrieval_scores(x.detach(), y))
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = retrieval_scores(x, y)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert scores_of(scores) == expected
    assert not scores.per_query.ap.requires_grad
    with torch.inference_mode():
        assert scores_of(retrieval_scores(x.detach() * 1, y)) == expected


def test_inputs_are_not_changed():
    x, y = problem(12, 50, 4)
    kept_x, kept_y = x.clone(), y.clone()
    retrieval_scores(x, y, distance="cosine")
    retrieval_scores(x, y, x, y)
    assert torch.equal(x, kept_x)
    assert torch.equal(y, kept_y)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_integer_labels_of_any_dtype(dtype):
    x, y = problem(13, 50, 4)
    y = (y - y.min()).to(dtype)
    assert scores_of(retrieval_scores(x, y)) == scores_of(retrieval_scores(x, y.long()))


def test_precision_at_k_out_of_range():
    scores = retrieval_scores(*problem(14, 20, 2))
    assert scores.precision_at_k(19) == pytest.approx(float(scores.per_query.n_relevant.double().mean()) / 19)
    for k in (0, 20):
        with pytest.raises(ValueError, match=f"from 1 to 19, the items that are ranked; got {k}"):
            scores.precision_at_k(k)


X, Y = torch.zeros(4, 3), torch.tensor([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, Y[:3]), {}, ValueError, "query_labels has 3 entries but query has 4"),
        ((X, Y, X, Y[:2]), {}, ValueError, "gallery_labels has 2 entries but gallery has 4"),
        ((X[0], Y), {}, ValueError, r"query must have shape \(n, d\), got \(3,\)"),
        ((X, Y[:, None]), {}, ValueError, r"query_labels must have shape \(n,\).* got \(4, 1\)"),
        ((X, Y, X[:, :2], Y), {}, ValueError, r"different dimensions: \(4, 3\) and \(4, 2\)"),
        ((X[:0], Y[:0]), {}, ValueError, r"query is empty: shape \(0, 3\)"),
        ((X, Y, X[:0], Y[:0]), {}, ValueError, r"gallery is empty: shape \(0, 3\)"),
        ((X, Y.float()), {}, TypeError, "query_labels must be integers, got torch.float32"),
        ((X, Y > 0), {}, TypeError, "query_labels must be integers, got torch.bool"),
        ((X.long(), Y), {}, TypeError, "query must be floating point embeddings, got torch.int64"),
        ((X, Y, X), {}, ValueError, "gallery_labels is missing"),
        ((X, Y, None, Y), {}, ValueError, "need a gallery"),
        ((X, Y), {"self_indices": torch.arange(4)}, ValueError, "need a gallery"),
        ((X, Y, X, Y), {"self_indices": torch.tensor([0, 1, 2, 4])}, ValueError, "from 0 to 3.*row 3 is 4"),
        ((X, Y, X, Y), {"self_indices": torch.tensor([0, -2, 2, 1])}, ValueError, "row 1 is -2"),
        (
            (X, torch.arange(4)),
            {},
            ValueError,
            "none of the 4 queries has a relevant item in the gallery of 4",
        ),
        ((X, Y, X, Y + 5), {}, ValueError, "none of the 4 queries"),
        ((X, Y), {"distance": "manhattan"}, ValueError, "distance must be one of .* got 'manhattan'"),
        ((X, Y), {"ties": "random"}, ValueError, "ties must be one of .* got 'random'"),
        ((X, Y), {"absent": "drop"}, ValueError, "absent must be one of .* got 'drop'"),
        ((X, Y), {"engine": "cuda"}, ValueError, "engine must be one of .* got 'cuda'"),
        ((X, Y), {"at": [1, 0]}, ValueError, r"at must be positive numbers of items, got \[1, 0\]"),
        ((X, Y), {"chunk_bytes": 0}, ValueError, "chunk_bytes must be positive, got 0"),
        ((X, Y), {"distance": "cosine"}, ValueError, "query row 0 is all zeros"),
    ],
)
def test_bad_input_is_told(arguments, options, error, message):
    with pytest.raises(error, match=message):
        retrieval_scores(*arguments, **options)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["query", "gallery"])
def test_a_row_that_is_not_finite_is_named(bad, which):
    broken = torch.ones(6, 3)
    broken[4, 1] = broken[5, 0] = bad
    y = torch.zeros(6, dtype=torch.int64)
    arguments = (broken, y) if which == "query" else (torch.ones(6, 3), y, broken, y)
    with pytest.raises(ValueError, match=f"{which} has NaN or infinity in 2 of 6 rows, the first is row 4"):
        retrieval_scores(*arguments)


def test_no_relevant_item_at_all_can_count_as_zero():
    scores = retrieval_scores(X, torch.arange(4), absent="zero")
    assert scores_of(scores) == [0] * len(NAMES)
    assert (scores.n_queries, scores.n_skipped) == (4, 0)
