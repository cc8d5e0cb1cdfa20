"""Classification of embeddings by a head, neighbours or an SVM."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from batchot.errors import require
from batchot.evaluation.ranking import (
    Distance,
    as_tensor,
    checked_embeddings,
    checked_labels,
    checked_same_dimension,
    comparable_items,
    full_precision,
)

_BYTES_PER_PAIR = 16  # a key, and what the selection of the nearest holds beside it


def head_predictions(logits: Tensor) -> Tensor:
    """Return the class with the largest of the logits ``(n, n_classes)``, the lowest where several are equal."""
    logits = checked_embeddings("logits", logits)
    # argmax itself may take any of several equal ones
    is_largest = logits == logits.amax(dim=1, keepdim=True)
    columns = torch.arange(logits.shape[1], device=logits.device)
    return torch.where(is_largest, columns, logits.shape[1]).amin(dim=1)


def svm_predictions(
    train_emb: Tensor,
    train_labels: Tensor,
    test_emb: Tensor,
    *,
    C: float = 1.0,
    gamma: float | Literal["scale", "auto"] = "scale",
    normalize: bool = False,
    max_train: int | None = 5000,
    seed: int = 0,
) -> Tensor:
    r"""Predict with a support vector machine on embeddings, kernel :math:`\exp(-\gamma \|x - y\|^2)`.

    The paper classifies so. It is scikit-learn's ``SVC``, one against one. Its training takes time quadratic
    in the number of samples, so that a large training set is thinned out: a seeded random part of each class,
    in the proportions of the whole.

    Args:
        train_emb: ``(n, d)`` embeddings.
        train_labels: ``(n,)`` integers, at least two classes.
        test_emb: ``(m, d)``.
        C: weight of the slack.
        gamma: of the kernel; "scale" is ``1 / (d * variance)``, "auto" is ``1 / d``.
        normalize: whether to L2-normalise all embeddings first.
        max_train: at most about so many training samples (each class keeps one at least), None for all.
        seed: of the choice of these.

    Returns:
        ``(m,)`` int64 on the device of ``test_emb``.

    Raises:
        TypeError, ValueError: embeddings or labels that do not fit, one class only, an option out of range.

    Example:
        >>> train = torch.tensor([[0.0], [0.2], [3.0], [3.2]])
        >>> svm_predictions(train, torch.tensor([5, 5, 7, 7]), torch.tensor([[0.1], [2.9]]))
        tensor([5, 7])
    """
    SVC = require("sklearn.svm", "train").SVC  # a second to import

    train_emb, train_labels, test_emb = _checked(train_emb, train_labels, test_emb)
    device = test_emb.device
    if len(train_labels.unique()) < 2:
        raise ValueError(f"an SVM needs two classes or more; all train_labels are {int(train_labels[0])}")
    if max_train is not None:
        if max_train < 1:
            raise ValueError(f"max_train must be positive or None, got {max_train}")
        kept = stratified_subset(train_labels.cpu(), max_train, seed).to(train_emb.device)
        train_emb, train_labels = train_emb[kept], train_labels[kept]
    if normalize:
        train_emb, test_emb = (torch.nn.functional.normalize(x, dim=1) for x in (train_emb, test_emb))
    svm = SVC(C=C, gamma=gamma, kernel="rbf", cache_size=500)
    svm.fit(train_emb.cpu().numpy(), train_labels.cpu().numpy())
    return torch.from_numpy(svm.predict(test_emb.cpu().numpy())).to(device)


def knn_predictions(
    train_emb: Tensor,
    train_labels: Tensor,
    test_emb: Tensor,
    k: int = 20,
    *,
    distance: Distance = "euclidean",
    chunk_bytes: int = 2**28,
) -> Tensor:
    """Predict the most frequent class of the k nearest; of several such that of the nearest."""
    train_emb, train_labels, test_emb = _checked(train_emb, train_labels, test_emb)
    if not 1 <= k <= len(train_emb):
        raise ValueError(f"k must be from 1 to the number of training items, {len(train_emb)}; got {k}")
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be positive, got {chunk_bytes}")
    device = test_emb.device
    known, classes = train_labels.to(device).unique(return_inverse=True)  # (c,), (n,)
    n_rows = max(1, chunk_bytes // (len(train_emb) * _BYTES_PER_PAIR + len(known) * 16))
    nearer_first = torch.arange(k, 0, -1, device=device)  # (k,)
    with full_precision(device):
        items = comparable_items(test_emb, train_emb.to(device), distance)
        predicted = []
        for rows in torch.arange(len(test_emb), device=device).split(n_rows):
            voters = classes[items.keys(rows).topk(k, largest=False).indices]  # (q, k), nearest first
            votes = torch.zeros(len(rows), len(known), dtype=torch.int64, device=device)
            votes.scatter_add_(1, voters, torch.ones_like(voters))
            winner = (votes.gather(1, voters) * (k + 1) + nearer_first).argmax(dim=1, keepdim=True)
            predicted.append(known[voters.gather(1, winner)[:, 0]])
    return torch.cat(predicted)


def stratified_subset(labels: Tensor, size: int, seed: int) -> Tensor:
    """Choose about ``size`` samples at random, in the class proportions of the whole, one a class at least."""
    if size >= len(labels):
        return torch.arange(len(labels), device="cpu")
    random = np.random.default_rng(seed)
    _, classes, counts = np.unique(labels.numpy(), return_inverse=True, return_counts=True)
    share = counts * (size / len(labels))
    quota = np.maximum(np.floor(share).astype(int), 1)
    missing = int(size - quota.sum())
    if missing > 0:  # largest remainder first
        quota[np.argsort(quota - share, kind="stable")[:missing]] += 1
    # small classes were given one: the largest pay for it
    for _ in range(min(-missing, int((quota - 1).sum()))):
        quota[quota.argmax()] -= 1
    kept = [random.permutation(np.flatnonzero(classes == c))[:n] for c, n in enumerate(quota)]
    return torch.from_numpy(np.sort(np.concatenate(kept)))


def _checked(train_emb: Tensor, train_labels: Tensor, test_emb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    train_emb, test_emb = checked_embeddings("train_emb", train_emb), checked_embeddings("test_emb", test_emb)
    checked_same_dimension("train_emb", train_emb, "test_emb", test_emb)
    return train_emb, checked_labels("train_labels", train_labels, len(train_emb), "train_emb"), test_emb


@dataclass(frozen=True, eq=False)
class ClassificationScores:
    """How well classes were told apart, as fractions; tensors are on the CPU."""

    accuracy: float  # over samples
    class_accuracy: float  # mean over the classes that occur among the labels
    per_class: Tensor = field(repr=False)  # (n_classes,) float64, NaN for a class that does not occur
    counts: Tensor = field(repr=False)  # the confusion matrix, sparse: only the pairs that occur take memory

    @property
    def confusion(self) -> Tensor:
        """The confusion matrix, ``(n_classes, n_classes)`` int64 counts, row: true class, column: predicted."""
        return self.counts.to_dense()

    def to_dict(self) -> dict[str, float]:
        """Return what is one number, by name: what loggers take."""
        return {"accuracy": self.accuracy, "class_accuracy": self.class_accuracy}


def classification_scores(predictions: Tensor, labels: Tensor, n_classes: int) -> ClassificationScores:
    r"""Score predicted classes against the true ones.

    :math:`accuracy = \frac1n \sum_i [p_i = y_i]`; class accuracy is the mean over classes of the same within
    a class (the recall of the class), so that small classes weigh as much as large ones.

    Args:
        predictions: ``(n,)`` integers from 0 to n_classes - 1.
        labels: ``(n,)`` integers from 0 to n_classes - 1, the truth.
        n_classes: number of classes, those included that do not occur.

    Returns:
        ClassificationScores: a class without samples is NaN in ``per_class`` and not in ``class_accuracy``.

    Raises:
        TypeError: predictions or labels are not integers.
        ValueError: no samples, different lengths, or a class out of range.

    Example:
        >>> predictions, labels = torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 0, 1])
        >>> scores = classification_scores(predictions, labels, n_classes=3)
        >>> scores.accuracy, round(scores.class_accuracy, 4)
        (0.5, 0.6667)
        >>> scores.confusion
        tensor([[1, 2, 0],
                [0, 1, 0],
                [0, 0, 0]])
    """
    if n_classes < 1:
        raise ValueError(f"n_classes must be positive, got {n_classes}")
    labels = as_tensor(labels)
    labels = checked_labels("labels", labels, labels.shape[0] if labels.ndim else 0, "labels")
    predictions = checked_labels("predictions", predictions, len(labels), "labels").to(labels.device)
    if len(labels) == 0:
        raise ValueError("labels is empty: there is nothing to score")
    for name, classes in (("predictions", predictions), ("labels", labels)):
        outside = (classes < 0) | (classes >= n_classes)
        if bool(outside.any()):
            row = int(outside.nonzero()[0])
            raise ValueError(f"{name} must be from 0 to {n_classes - 1}; entry {row} is {int(classes[row])}")
    occurring, n = torch.stack([labels, predictions]).cpu().unique(dim=1, return_counts=True)  # (2, p), (p,)
    counts = torch.sparse_coo_tensor(
        occurring, n, (n_classes, n_classes), device="cpu", check_invariants=True, is_coalesced=True
    )
    right = labels[labels == predictions]
    n_right = torch.bincount(right, minlength=n_classes).cpu()
    # 0 / 0 is the NaN of an absent class
    per_class = n_right.double() / torch.bincount(labels, minlength=n_classes).cpu()
    return ClassificationScores(
        accuracy=len(right) / len(labels),
        class_accuracy=float(per_class.nanmean()),
        per_class=per_class,
        counts=counts,
    )
