from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from torch import Tensor

from batchot.evaluation import head_predictions, knn_predictions, svm_predictions
from batchot.evaluation.classification import stratified_subset


def blobs(n: int, seed: int, spread: float = 1.5) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (n,), generator=g)
    centres = torch.tensor([[0.0, 0.0, 5.0], [0.0, 5.0, 0.0], [5.0, 0.0, 0.0], [4.0, 4.0, 4.0]])
    return centres[labels] + spread * torch.randn(n, 3, generator=g), labels * 10


def test_head_takes_the_largest_and_the_first_of_equal_ones():
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(head_predictions(logits), logits.argmax(dim=1))
    assert head_predictions(torch.zeros(3, 40)).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="logits has NaN or infinity in 1 of 2 rows, the first is row 1"):
        head_predictions(torch.tensor([[0.0, 1.0], [0.0, float("nan")]]))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("chunk_bytes", [1, 20_000, 2**28])
def test_knn_equals_a_naive_vote(distance, chunk_bytes):
    train, labels = blobs(150, 0)
    test, _ = blobs(40, 1)
    predicted = knn_predictions(train, labels, test, 6, distance=distance, chunk_bytes=chunk_bytes)
    a, b = train.double(), test.double()
    if distance == "cosine":
        a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
    n_ties = 0
    for row, ours in zip(torch.cdist(b, a), predicted.tolist(), strict=True):
        voters = labels[row.argsort()[:6]].tolist()
        votes = Counter(voters)
        most = max(votes.values())
        n_ties += sum(v == most for v in votes.values()) > 1
        assert ours == next(v for v in voters if votes[v] == most)  # the tied class with the nearest voter
    assert n_ties > 0


def test_knn_equals_scikit_learn_with_odd_votes_of_two_classes():
    train, labels = blobs(200, 2)
    test, _ = blobs(60, 3)
    two = labels < 15
    reference = KNeighborsClassifier(7).fit(train[two].numpy(), labels[two].numpy())
    ours = knn_predictions(train[two], labels[two], test, 7)
    assert ours.tolist() == reference.predict(test.numpy()).tolist()


def test_knn_bad_k():
    train, labels = blobs(10, 0)
    for k in (0, 11):
        with pytest.raises(
            ValueError, match=f"k must be from 1 to the number of training items, 10; got {k}"
        ):
            knn_predictions(train, labels, train, k)
    with pytest.raises(ValueError, match="chunk_bytes must be positive"):
        knn_predictions(train, labels, train, 3, chunk_bytes=0)


def test_svm_is_that_of_scikit_learn():
    train, labels = blobs(120, 4)
    test, _ = blobs(40, 5)
    reference = SVC(C=2.0, gamma=0.3).fit(train.numpy(), labels.numpy())
    ours = svm_predictions(train, labels, test, C=2.0, gamma=0.3)
    assert ours.tolist() == reference.predict(test.numpy()).tolist()
    unit_train, unit_test = (torch.nn.functional.normalize(x) for x in (train, test))
    reference = SVC().fit(unit_train.numpy(), labels.numpy())
    ours = svm_predictions(train, labels, test, normalize=True)
    assert ours.tolist() == reference.predict(unit_test.numpy()).tolist()


def test_svm_thins_out_by_seed():
    train, labels = blobs(400, 6, spread=3.0)
    test, _ = blobs(300, 7, spread=3.0)
    some = [svm_predictions(train, labels, test, max_train=40, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])
    kept = stratified_subset(labels, 40, seed=0)
    assert torch.equal(some[0], svm_predictions(train[kept], labels[kept], test, max_train=None))


@pytest.mark.parametrize("seed", range(20))
def test_a_subset_has_the_asked_size_and_the_proportions_of_the_whole(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 40, 7)
    labels = torch.from_numpy(random.permutation(np.repeat(np.arange(7), counts)))
    size = int(random.integers(7, len(labels)))
    kept = labels[stratified_subset(labels, size, seed)].bincount(minlength=7).numpy()
    assert kept.sum() == size  # the places of the largest remainders are filled, one each
    assert (kept >= 1).all() and (kept <= np.maximum(np.ceil(counts * size / len(labels)), 1)).all()


def test_svm_bad_input():
    train, labels = blobs(20, 0)
    with pytest.raises(ValueError, match="two classes or more; all train_labels are 3"):
        svm_predictions(train, torch.full((20,), 3), train)
    with pytest.raises(ValueError, match="max_train must be positive or None, got 0"):
        svm_predictions(train, labels, train, max_train=0)
    assert len(svm_predictions(train, labels, train, max_train=1)) == 20  # one a class
    with pytest.raises(ValueError, match="train_labels has 19 entries but train_emb has 20"):
        svm_predictions(train, labels[:19], train)


@pytest.mark.parametrize("predict", [svm_predictions, knn_predictions])
def test_embeddings_are_checked(predict):
    train, labels = blobs(30, 0)
    with pytest.raises(ValueError, match=r"different dimensions: \(30, 3\) and \(30, 2\)"):
        predict(train, labels, train[:, :2])
    broken = train.clone()
    broken[2, 0] = float("inf")
    with pytest.raises(ValueError, match="test_emb has NaN or infinity in 1 of 30 rows, the first is row 2"):
        predict(train, labels, broken)


@pytest.mark.parametrize("size", [7, 30, 99, 100, 1000])
def test_stratified_subset_keeps_proportions_and_every_class(size):
    labels = torch.tensor([5] * 60 + [2] * 30 + [9] * 9 + [-1])
    kept = stratified_subset(labels, size, seed=3)
    assert len(kept.unique()) == len(kept) == min(size, 100)
    assert set(labels[kept].tolist()) == {5, 2, 9, -1}
    counts = np.array([(labels[kept] == c).sum() for c in (5, 2, 9)])
    assert np.abs(counts - np.array([60, 30, 9]) * min(size, 100) / 100).max() <= 1.5


def test_stratified_subset_of_more_classes_than_places():
    assert stratified_subset(torch.arange(10), 4, seed=0).tolist() == list(range(10))
