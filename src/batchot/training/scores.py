"""Measures of a run and their table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from batchot.evaluation import (
    RetrievalScores,
    classification_scores,
    head_predictions,
    knn_predictions,
    retrieval_scores,
    svm_predictions,
)


@dataclass(frozen=True)
class Embedded:
    """Images after the network."""

    embeddings: Tensor  # (n, d), normalised where the loss normalises
    logits: Tensor | None  # (n, c), None without a head
    labels: Tensor  # (n,)

    def on_cpu(self) -> Embedded:
        """Give the same in the processor's memory."""
        return self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> Embedded:
        """Give the same on a device."""
        logits = None if self.logits is None else self.logits.to(device)
        return Embedded(self.embeddings.to(device), logits, self.labels.to(device))


@dataclass(frozen=True)
class Scores:
    """Test-to-test retrieval and classification of the test images, as fractions."""

    map: float
    nn: float
    ft: float
    st: float
    e: float
    dcg: float
    accuracy: float
    accuracy_by: Literal["head", "svm", "knn"]
    knn_accuracy: float


def score(
    test: Embedded, reference: Embedded, *, n_classes: int, normalized: bool, svm: bool, neighbours: int
) -> Scores:
    """Measure embedded test images."""
    retrieved = retrieval_scores(
        test.embeddings, test.labels, distance="cosine" if normalized else "euclidean"
    )

    def accuracy(predictions: Tensor) -> float:
        return classification_scores(predictions, test.labels, n_classes).accuracy

    k = min(neighbours, len(reference.labels))
    knn = accuracy(knn_predictions(reference.embeddings, reference.labels, test.embeddings, k=k))
    by: Literal["head", "svm", "knn"]
    if test.logits is not None:
        by, value = "head", accuracy(head_predictions(test.logits))
    elif svm:
        by, value = (
            "svm",
            accuracy(
                svm_predictions(reference.embeddings, reference.labels, test.embeddings, max_train=None)
            ),
        )
    else:
        by, value = "knn", knn
    return _scores(retrieved, value, by, knn)


def score_across(
    queries: Embedded, gallery: Embedded, *, n_classes: int, normalized: bool, neighbours: int
) -> Scores:
    """Measure the queries of one tower against the gallery of another."""
    retrieved = retrieval_scores(
        queries.embeddings,
        queries.labels,
        gallery.embeddings,
        gallery.labels,
        distance="cosine" if normalized else "euclidean",
    )
    k = min(neighbours, len(gallery.labels))
    nearest = knn_predictions(gallery.embeddings, gallery.labels, queries.embeddings, k=k)
    knn = classification_scores(nearest, queries.labels, n_classes).accuracy
    if queries.logits is None:
        return _scores(retrieved, knn, "knn", knn)
    head = classification_scores(head_predictions(queries.logits), queries.labels, n_classes).accuracy
    return _scores(retrieved, head, "head", knn)


def _scores(
    retrieved: RetrievalScores, accuracy: float, by: Literal["head", "svm", "knn"], knn: float
) -> Scores:
    return Scores(
        map=retrieved.map,
        nn=retrieved.nn,
        ft=retrieved.ft,
        st=retrieved.st,
        e=retrieved.e,
        dcg=retrieved.dcg,
        accuracy=accuracy,
        accuracy_by=by,
        knn_accuracy=knn,
    )


MEASURES = ("map", "nn", "ft", "st", "e", "dcg")
Line = tuple[str, str]  # name of a measure, and its value as text


def averages(name: str, micro: float, macro: float) -> Line:
    """Give the line of a measure in %."""
    return name, f"{100 * micro:9.2f}   {100 * macro:9.2f}"


def retrieval_lines(scores: RetrievalScores) -> list[Line]:
    """Give the lines of all measures of retrieval."""
    return [
        averages("mAP" if name == "map" else name.upper(), getattr(scores, name), getattr(scores.macro, name))
        for name in MEASURES
    ]


def accuracy_lines(embedded: Embedded, predictions: Mapping[str, Tensor], n_classes: int) -> list[Line]:
    """Give a line for each way to tell the classes, that of the head first where there is one."""
    found = dict(predictions)
    if embedded.logits is not None:
        found = {"head": head_predictions(embedded.logits)} | found
    scores = {by: classification_scores(classes, embedded.labels, n_classes) for by, classes in found.items()}
    return [averages(f"accuracy ({by})", s.accuracy, s.class_accuracy) for by, s in scores.items()]
