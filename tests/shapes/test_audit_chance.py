"""The classifier finds what tells the class, and no more often than it should what does not."""

from __future__ import annotations

import numpy as np
import pytest

from batchot.audit.audit import chance_test


def labels_of(n: int, seed: int, n_classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, n_classes, n)


def test_what_never_differs_is_at_chance_exactly() -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    test = chance_test(np.full((60, 5), 255.0), labels)
    assert (test.accuracy, test.chance, test.p_value, test.leak) == (0.5, 0.5, 1.0, False)


@pytest.mark.parametrize("seed", range(6))
def test_noise_passes(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    assert not chance_test(random.normal(size=(80, 4)), labels_of(80, seed), seed=seed).leak


def test_p_is_as_often_below_a_level_as_the_level_says() -> None:
    # Without a leak P(p <= 0.2) is at most 0.2: more than 12 of 30 has a probability of 0.003.
    p = [
        chance_test(
            np.random.default_rng(seed).normal(size=(30, 2)), labels_of(30, seed, 2), seed=seed
        ).p_value
        for seed in range(30)
    ]
    assert sum(value <= 0.2 for value in p) <= 12
    assert min(p) >= 2 / 400


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("leak", ["one class", "shift", "not monotonic", "rare pixel", "one of twenty"])
def test_leaks_are_found(leak: str, seed: int) -> None:
    labels = labels_of(200, seed)
    random = np.random.default_rng(200 + seed)
    features = random.normal(size=(200, 6))
    if leak == "one class":
        features[:, 2] += 3 * (labels == 1)
    elif leak == "shift":
        features[:, 2] += labels
    elif leak == "not monotonic":
        features[:, 2] = np.array([1, 5, 2, 4])[labels] + random.uniform(-0.4, 0.4, 200)
    elif leak == "one of twenty":
        labels = labels_of(200, seed, 20)
        features = random.normal(size=(200, 30))
        features[:, 2] += 4 * (labels == 1)
    else:
        features[:] = 255
        features[:, 4] -= (labels == 2) & (random.uniform(size=200) < 0.5)
    test = chance_test(features, labels, seed=seed)
    assert test.leak and test.p_value == 2 / 400


def test_the_accuracy_is_that_of_a_classifier() -> None:
    labels = labels_of(120, 0)
    features = labels[:, None] + np.random.default_rng(0).normal(size=(120, 3)) * [0.01, 1, 1]
    assert chance_test(features, labels).accuracy > 0.8


def test_it_is_the_same_for_the_same_seed() -> None:
    features, labels = np.random.default_rng(0).normal(size=(60, 3)), labels_of(60, 0)
    assert chance_test(features, labels, seed=3) == chance_test(features, labels, seed=3)


def test_many_samples_and_small_classes_are_cut() -> None:
    labels = np.concatenate([np.arange(400) % 2, [2, 3, 3]])
    test = chance_test(labels[:, None].astype(float), labels, max_samples=1000)
    assert (test.n, test.n_classes) == (400, 2)
    assert chance_test(labels[:, None].astype(float), labels, max_samples=50).n <= 50


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((4, 1)), [0, 1, 0], "got"),
        (np.zeros(4), [0, 1, 0, 1], "got"),
        (np.full((6, 1), np.nan), [0, 1] * 3, "finite"),
        (np.zeros((6, 1)), [0] * 6, "two classes"),
        (np.zeros((5, 1)), [0, 0, 0, 1, 1], "two classes"),
        (np.zeros((0, 1)), [], "two classes"),
    ],
)
def test_what_cannot_be_tested_is_refused(features: np.ndarray, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chance_test(features, labels)


def test_too_few_permutations_to_say_anything_are_refused() -> None:
    with pytest.raises(ValueError, match="399"):
        chance_test(np.zeros((6, 1)), [0, 1] * 3, permutations=199)
