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
    queries: Embedded,
    reference: Embedded,
    gallery: Embedded | None = None,
    *,
    n_classes: int,
    normalized: bool,
    svm: bool,
    neighbours: int,
) -> Scores:
    """Measure queries against a gallery, or among themselves; a reference set tells their classes."""
    retrieved = retrieve(queries, gallery, normalized=normalized)

    def accuracy(predictions: Tensor) -> float:
        return classification_scores(predictions, queries.labels, n_classes).accuracy

    k = min(neighbours, len(reference.labels))
    knn = accuracy(knn_predictions(reference.embeddings, reference.labels, queries.embeddings, k=k))
    by: Literal["head", "svm", "knn"] = "knn" if queries.logits is None else "head"
    value = knn if queries.logits is None else accuracy(head_predictions(queries.logits))
    if by == "knn" and svm:
        by, found = "svm", (reference.embeddings, reference.labels, queries.embeddings)
        value = accuracy(svm_predictions(*found, max_train=None))
    measures = {name: getattr(retrieved, name) for name in MEASURES}
    return Scores(accuracy=value, accuracy_by=by, knn_accuracy=knn, **measures)


def retrieve(
    queries: Embedded,
    gallery: Embedded | None,
    *,
    normalized: bool,
    ap_convention: Literal["relevant", "shrec13"] = "relevant",
) -> RetrievalScores:
    """Measure how well queries find their classes in a gallery; among themselves where there is none."""
    return retrieval_scores(
        queries.embeddings,
        queries.labels,
        None if gallery is None else gallery.embeddings,
        None if gallery is None else gallery.labels,
        distance="cosine" if normalized else "euclidean",
        ap_convention=ap_convention,
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
