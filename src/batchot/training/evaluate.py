"""Measure a trained network: embeddings of samples, their scores, and the table of `batchot evaluate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from batchot.data import Samples
from batchot.device import Device, accelerator_of
from batchot.evaluation import (
    RetrievalScores,
    classification_scores,
    head_predictions,
    knn_predictions,
    retrieval_scores,
    svm_predictions,
)
from batchot.towers.embedder import Embedder, Outputs
from batchot.towers.saved import load_run
from batchot.training.data import keep, load_data, preparation_of
from batchot.training.inputs import reference_samples
from batchot.training.recipe import Recipe
from batchot.training.recipes import recipe_of


@dataclass(frozen=True)
class Embedded:
    """Images after the network."""

    embeddings: Tensor  # (n, d), normalised where the loss normalises
    logits: Tensor | None  # (n, c), None without a head
    labels: Tensor  # (n,)

    def on_cpu(self) -> Embedded:
        return self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> Embedded:
        logits = None if self.logits is None else self.logits.to(device)
        return Embedded(self.embeddings.to(device), logits, self.labels.to(device))


Parts = list[tuple[Tensor, Tensor | None, Tensor]]  # embeddings, logits and labels of batches


def gather(parts: Parts) -> Embedded:
    logits = [part[1] for part in parts if part[1] is not None]
    return Embedded(
        torch.cat([part[0] for part in parts]),
        torch.cat(logits) if logits else None,
        torch.cat([part[2] for part in parts]),
    )


def embed_samples(embedder: Embedder, recipe: Recipe, samples: Samples, tower: str | None = None) -> Embedded:
    part, outputs = recipe.parts[tower or recipe.query], partial(embedder.outputs, tower=tower)
    if part.model.train != "head":
        return embed_all(outputs, samples, recipe.evaluation.batch)
    network = embedder.tower(tower)
    kept = keep(network, part, preparation_of(network.spec), samples, training=False)
    with network.on_kept_features(part.model.frozen_layers):
        return embed_all(outputs, kept, recipe.evaluation.batch)


@torch.no_grad()
def embed_all(outputs: Callable[[Tensor], Outputs], samples: Samples, size: int) -> Embedded:
    parts = []
    for indices in torch.arange(len(samples)).split(size):
        out = outputs(samples.batch(indices))
        logits = None if out.logits is None else out.logits.cpu()
        parts.append((out.embeddings.cpu(), logits, samples.labels[indices]))
    return gather(parts)


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
    return name, f"{100 * micro:9.2f}   {100 * macro:9.2f}"


def retrieval_lines(scores: RetrievalScores) -> list[Line]:
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


def evaluate(
    path: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    checkpoint: Literal["last", "best"] = "last",
) -> list[Line]:
    """Measure how well the test samples of a run are retrieved, among themselves or from the last tower's samples."""
    embedder, recipe = load_run(path, accelerator_of(device), checkpoint=checkpoint), recipe_of(path)
    data, normalized = load_data(recipe, data_root), embedder.normalized
    queries = embed_samples(embedder, recipe, data.queries, recipe.query)
    known = reference_samples(recipe, data.train[recipe.query]) if data.gallery is None else data.gallery
    reference = embed_samples(embedder, recipe, known, recipe.target)
    gallery = reference if recipe.several else None
    scores = retrieve(queries, gallery, normalized=normalized)
    table = [("", "per query   per class"), *retrieval_lines(scores)]
    k = min(recipe.evaluation.neighbours, len(reference.labels))
    to_tell = (reference.embeddings, reference.labels, queries.embeddings)
    predictions = {f"{k} neighbours": knn_predictions(*to_tell, k=k)}
    if gallery is None:
        predictions = {"svm": svm_predictions(*to_tell, max_train=None)} | predictions
    else:
        counted = f"{len(queries.labels):,} queries, {len(gallery.labels):,} in the gallery"
        table = [(f"{recipe.query} to {recipe.target}", counted), *table]
        padded = retrieve(queries, gallery, normalized=normalized, ap_convention="shrec13")
        table.append(averages("mAP padded as SHREC'13", padded.map, padded.macro.map))
        if scores.n_skipped:
            table.append(("queries without a target", f"{scores.n_skipped:,}, left out"))
    table += accuracy_lines(queries, predictions, len(embedder.classes))
    return table if gallery is None else [*table, *_by_class(scores, embedder.classes)]


def _by_class(scores: RetrievalScores, names: tuple[str, ...]) -> list[Line]:
    classes = scores.per_class
    table = [("", "      mAP       NN       FT       ST        E      DCG")]
    for row, label in enumerate(classes.labels.tolist()):
        values = [float(getattr(classes, name)[row]) for name in MEASURES]
        if not math.isnan(values[0]):
            table.append((f"class {names[label]}", "".join(f"{100 * value:9.2f}" for value in values)))
    return table
