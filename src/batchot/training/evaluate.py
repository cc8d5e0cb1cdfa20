"""Evaluate a run again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from batchot.device import Device, accelerator_of
from batchot.evaluation import RetrievalScores, knn_predictions, svm_predictions
from batchot.towers.saved import load_run
from batchot.training.data import load_data
from batchot.training.inputs import reference_samples
from batchot.training.recipes import recipe_of
from batchot.training.run import embed_samples
from batchot.training.scores import MEASURES, Line, accuracy_lines, averages, retrieval_lines, retrieve


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
