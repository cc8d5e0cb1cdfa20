from __future__ import annotations

import math

import pytest
import sklearn.metrics
import torch

from batchot.evaluation import classification_scores


@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(seed):
    g = torch.Generator().manual_seed(seed)
    labels = (torch.rand(200, generator=g).square() * 6).long()
    predictions = torch.where(
        torch.rand(200, generator=g) < 0.6, labels, torch.randint(0, 6, (200,), generator=g)
    )
    scores = classification_scores(predictions, labels, 6)
    assert scores.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    assert scores.class_accuracy == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predictions)
    )
    assert scores.confusion.tolist() == sklearn.metrics.confusion_matrix(labels, predictions).tolist()
    recalls = sklearn.metrics.recall_score(labels, predictions, average=None)
    assert scores.per_class.tolist() == pytest.approx(recalls.tolist())


def test_an_absent_class_is_nan_and_not_averaged():
    scores = classification_scores(torch.tensor([0, 2, 2, 3]), torch.tensor([0, 0, 2, 2]), 4)
    assert scores.per_class.tolist()[::2] == [0.5, 0.5]
    assert all(math.isnan(value) for value in scores.per_class.tolist()[1::2])
    assert scores.class_accuracy == 0.5
    assert scores.confusion[2].tolist() == [0, 0, 1, 1]  # rows are the true classes


def test_many_classes_take_memory_by_the_samples():
    # a confusion matrix of 50,000 x 50,000 would be 20 GB
    g = torch.Generator().manual_seed(0)
    labels, predictions = torch.randint(0, 50_000, (2, 5000), generator=g)
    predictions[:1000] = labels[:1000]
    scores = classification_scores(predictions, labels, 50_000)
    assert scores.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    recalls = sklearn.metrics.recall_score(labels, predictions, labels=labels.unique(), average=None)
    assert scores.class_accuracy == pytest.approx(recalls.mean())
    assert scores.counts.values().sum() == 5000
    assert len(scores.counts.values()) <= 5000
    assert scores.counts.coalesce().indices().amax(dim=1).tolist() == [labels.max(), predictions.max()]


def test_numbers_for_a_logger():
    scores = classification_scores(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 0, 1]), 2)
    assert scores.to_dict() == {"accuracy": 0.5, "class_accuracy": pytest.approx(2 / 3)}


T = torch.tensor


@pytest.mark.parametrize(
    ("predictions", "labels", "n_classes", "error", "message"),
    [
        (T([0, 1]), T([0, 1, 1]), 2, ValueError, "predictions has 2 entries but labels has 3"),
        (T([0, 1]), T([0.0, 1.0]), 2, TypeError, "labels must be integers, got torch.float32"),
        (T([[0.2, 0.8]]), T([0]), 2, TypeError, "predictions must be integers"),
        (T([[0, 1]]), T([0, 1]), 2, ValueError, r"predictions must have shape \(n,\).* got \(1, 2\)"),
        (T([0, 2]), T([0, 1]), 2, ValueError, "predictions must be from 0 to 1; entry 1 is 2"),
        (T([0, 1]), T([-1, 1]), 2, ValueError, "labels must be from 0 to 1; entry 0 is -1"),
        (T([0])[:0], T([0])[:0], 2, ValueError, "labels is empty"),
        (T([0]), T(0), 2, ValueError, r"labels must have shape \(n,\)"),
        (T([0]), T([0]), 0, ValueError, "n_classes must be positive, got 0"),
    ],
)
def test_bad_input_is_told(predictions, labels, n_classes, error, message):
    with pytest.raises(error, match=message):
        classification_scores(predictions, labels, n_classes)
