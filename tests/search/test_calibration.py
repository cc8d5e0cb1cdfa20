"""Tests of confidences and of what nothing is like."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.search.confidence import (
    FALSE_ALARMS,
    Calibration,
    calibrate,
    expected_calibration_error,
    fit_novelty,
    nearest,
    vote_shares,
)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def clusters(
    n_classes: int, each: int, noise: float, seed: int = 0, d: int = 16
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Unit vectors around centres, their classes, and the centres."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(n_classes, d)))
    x = np.repeat(centres, each, 0) + noise * rng.normal(size=(n_classes * each, d))
    return unit(x), [f"c{k:02d}" for k in np.repeat(np.arange(n_classes), each)], centres


def test_nearest_is_that_of_a_naive_search() -> None:
    rng = np.random.default_rng(1)
    queries, gallery = (
        rng.normal(size=(13, 5)).astype(np.float32),
        rng.normal(size=(40, 5)).astype(np.float32),
    )
    distances, indices = nearest(queries, gallery, 7)
    for q in range(13):
        expected = sorted((float(np.linalg.norm(queries[q] - gallery[i])), i) for i in range(40))[:7]
        assert indices[q].tolist() == [i for _, i in expected]
        np.testing.assert_allclose(distances[q], [d for d, _ in expected], rtol=1e-5)


def test_nearest_keeps_the_digits_of_small_distances() -> None:
    a = np.full((1, 4), 0.5, np.float32)
    b = a + np.float32(1e-5)
    assert nearest(a, b, 1)[0][0, 0] == pytest.approx(np.linalg.norm(b - a), rel=1e-3)


def test_vote_shares_are_those_of_a_naive_vote() -> None:
    rng = np.random.default_rng(2)
    d = np.sort(rng.random((6, 5)), 1)
    labels = rng.integers(0, 3, (6, 5))
    shares = vote_shares(d, labels, 3, 0.2)
    for q in range(6):
        weights = [np.exp(-(x**2 - d[q, 0] ** 2) / 0.2) for x in d[q]]
        for c in range(3):
            expected = sum(w for w, label in zip(weights, labels[q], strict=True) if label == c) / sum(
                weights
            )
            assert shares[q, c] == pytest.approx(expected)


def test_confidence_is_the_share_that_is_right() -> None:
    x, names, _ = clusters(8, 60, 0.35)
    found = calibrate(x, names, x, names, source="x", same=np.arange(len(x)))
    assert found is not None
    assert 0.5 < found.accuracy < 0.98  # hard enough to be wrong sometimes
    assert abs(found.confidence - found.accuracy) < 0.03
    assert found.ece < 0.08
    fresh, fresh_names, _ = clusters(8, 60, 0.35, seed=0)
    rng = np.random.default_rng(9)
    queries = unit(fresh + 0.05 * rng.normal(size=fresh.shape))
    judged = [found.judge(*neighbours(q, x, names)) for q in queries]
    right = np.array(
        [j.ranking[0][0] == c for j, c in zip(judged, fresh_names, strict=True) if j is not None]
    )
    assert right.mean() > 0.5


def neighbours(query: np.ndarray, gallery: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    distances, indices = nearest(query[None], gallery, 20)
    return distances[0], [names[k] for k in indices[0]]


def test_what_is_unlike_everything_is_told() -> None:
    x, names, _ = clusters(12, 25, 0.08)
    half = np.arange(len(x)) % 2 == 0
    queries, query_names = x[half], [n for n, h in zip(names, half, strict=True) if h]
    gallery, gallery_names = x[~half], [n for n, h in zip(names, half, strict=True) if not h]
    found = calibrate(queries, query_names, gallery, gallery_names, source="x")
    assert found is not None
    assert found.rejects > 0.9
    assert found.false_alarms < 0.1
    far = found.judge(*neighbours(-gallery.mean(0) / np.linalg.norm(gallery.mean(0)), gallery, gallery_names))
    near = found.judge(*neighbours(gallery[3], gallery, gallery_names))
    assert far is not None and far.nothing_like_it
    assert near is not None and not near.nothing_like_it
    assert near.ranking[0][0] == gallery_names[3]


def test_a_shape_does_not_vote_for_itself() -> None:
    # every vector lies alone: only itself, or chance, could tell its class
    rng = np.random.default_rng(4)
    x = unit(rng.normal(size=(200, 16)))
    names = [f"c{k % 10}" for k in range(200)]
    by_index = calibrate(x, names, x, names, source="x", same=np.arange(200))
    by_distance = calibrate(x, names, x, names, source="x")
    assert by_index is not None and by_distance is not None
    assert by_index.accuracy < 0.3 and by_distance.accuracy < 0.3
    assert by_index.confidence < 0.4


@given(st.integers(0, 10_000), st.floats(0.01, 2.0))
@settings(max_examples=30, deadline=None)
def test_no_farther_query_is_better_known(seed: int, farther: float) -> None:
    rng = np.random.default_rng(seed)
    known, unknown = rng.random((50, 4)), rng.random((40, 4)) + rng.normal(size=4)
    novelty = fit_novelty(known, unknown)
    features = rng.random((1, 4))
    assert novelty(features + farther)[0] >= novelty(features)[0]
    assert (novelty(known) > 0).mean() <= FALSE_ALARMS


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_ranking_is_in_order_and_what_is_left_is_for_other_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    c = Calibration(
        "x", False, 100, 0.1, rng.random() * 2, rng.normal(), (1, 0, 0, 1), 1.0, 0.9, 0.9, 0.0, 0.0, 0.0
    )
    names = [f"c{k}" for k in [0, 1, *rng.integers(0, 5, 18)]]  # two classes at least
    judged = c.judge(np.sort(rng.random(20)), names)
    assert judged is not None
    probabilities = [p for _, p in judged.ranking]
    assert probabilities == sorted(probabilities, reverse=True) and probabilities[-1] >= 0
    assert sum(probabilities) <= 1 + 1e-6
    assert judged.confidence == judged.ranking[0][1]


def test_one_class_alone_leaves_room_for_none_of_it() -> None:
    c = Calibration("x", False, 100, 0.1, 0.5, -3.0, (1, 0, 0, 1), 1.0, 0.9, 0.9, 0.0, 0.0, 0.0)
    judged = c.judge(np.array([0.1, 0.2]), ["cup", "cup"])
    assert judged is not None
    assert judged.ranking == (("cup", judged.confidence),)
    assert judged.confidence < 1


def test_too_little_to_calibrate_with() -> None:
    x, names, _ = clusters(3, 5, 0.1)
    assert calibrate(x, names, x, names, source="x") is None  # 15 queries
    x, names, _ = clusters(1, 50, 0.1)
    assert calibrate(x, names, x, names, source="x") is None  # one class
    x, names, _ = clusters(3, 50, 0.1)
    assert calibrate(x, ["other"] * 150, x, names, source="x") is None
    assert calibrate(x, names, x, [""] * 150, source="x") is None


def test_small_and_unnamed_galleries() -> None:
    x, names, _ = clusters(4, 40, 0.1)
    few = np.array([0, 40, 80, 81])
    found = calibrate(x, names, x[few], [names[k] for k in few], source="x")  # fewer shapes than neighbours
    assert found is not None and np.isfinite(found.threshold)
    some = [name if k % 2 else "" for k, name in enumerate(names)]
    found = calibrate(x, names, x, some, source="x", same=np.arange(160))
    assert found is not None and found.accuracy > 0.9
    assert found.judge(np.array([0.1]), [""]) is None


def test_calibration_error_against_a_naive_one() -> None:
    rng = np.random.default_rng(5)
    sure = rng.random(1000)
    right = rng.random(1000) < sure**2
    order = np.argsort(sure)
    expected = sum(
        abs(right[part].mean() - sure[part].mean()) * len(part) / 1000 for part in np.array_split(order, 10)
    )
    assert expected_calibration_error(sure, right) == pytest.approx(expected, abs=0.01)
    assert expected_calibration_error(np.full(100, 0.7), np.arange(100) < 70) == pytest.approx(0.0)


def test_round_trip_through_json() -> None:
    x, names, _ = clusters(5, 30, 0.2)
    found = calibrate(x, names, x, names, source="x", same=np.arange(150))
    assert found is not None
    assert Calibration.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_likeness_tells_good_neighbours_from_bad_ones() -> None:
    x, names, centres = clusters(6, 60, 0.28)
    rng = np.random.default_rng(7)
    fresh, classes = (
        unit(np.repeat(centres, 80, 0) + 0.28 * rng.normal(size=(480, 16))),
        np.repeat(np.arange(6), 80),
    )
    found = calibrate(fresh[::2], [f"c{k:02d}" for k in classes[::2]], x, names, source="x")
    assert found is not None and found.alike is not None
    given, right = [], []
    for query, c in zip(fresh[1::2], classes[1::2], strict=True):
        d, i = nearest(query[None], x, 20)
        near = [names[k] for k in i[0]]
        given += found.likeness(d[0], near, d[0], near)
        right += [name == f"c{c:02d}" for name in near]
    p, y = np.array(given, float), np.array(right)
    assert 0.5 < y.mean() < 0.98  # some are wrong
    assert p[y].mean() - p[~y].mean() > 0.2  # and are told apart
    assert expected_calibration_error(p, y) < 0.05  # and mean what they say
    # nearer is never less alike
    line = found.likeness(d[0], near, np.linspace(0.01, 1.5, 9), [near[0]] * 9)
    assert line == sorted(line, reverse=True)
    assert found.likeness(d[0], near, d[0][:1], [""]) == [None]


def test_calibrations_of_other_versions() -> None:
    x, names, _ = clusters(5, 30, 0.2)
    found = calibrate(x, names, x, names, source="x", same=np.arange(150))
    assert found is not None
    older = {name: value for name, value in found.to_json().items() if name != "alike"}
    again = Calibration.from_json({**older, "of_tomorrow": 1})
    assert again.temperature == found.temperature and again.alike is None
    assert again.likeness(np.array([0.1]), ["c00"], np.array([0.1]), ["c00"]) == [None]
