"""Evaluate a run again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from batchot.device import Device, accelerator_of
from batchot.evaluation import RetrievalScores, knn_predictions, retrieval_scores, svm_predictions
from batchot.towers.saved import load_run
from batchot.training.cross_inputs import load_cross
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.inputs import load_splits, reference_samples
from batchot.training.recipe import Recipe
from batchot.training.recipes import recipe_of
from batchot.training.run import embed_samples
from batchot.training.scores import MEASURES, accuracy_lines, averages, retrieval_lines


def evaluate_cross(
    path: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    checkpoint: Literal["last", "best"] = "last",
) -> list[tuple[str, str]]:
    """Measure how well the queries of a run retrieve their targets."""
    embedder, recipe = load_run(path, accelerator_of(device), checkpoint=checkpoint), recipe_of(path)
    assert isinstance(recipe, CrossModalRecipe)
    data = load_cross(recipe, data_root)
    queries = embed_samples(embedder, recipe, data.queries, recipe.query)
    gallery = embed_samples(embedder, recipe, data.gallery, recipe.target)

    def measured(ap_convention: Literal["relevant", "shrec13"]) -> RetrievalScores:
        return retrieval_scores(
            queries.embeddings,
            queries.labels,
            gallery.embeddings,
            gallery.labels,
            distance="cosine" if embedder.normalized else "euclidean",
            ap_convention=ap_convention,
        )

    scores, padded = measured("relevant"), measured("shrec13")
    table = [
        (
            f"{recipe.query} to {recipe.target}",
            f"{len(queries.labels):,} queries, {len(gallery.labels):,} in the gallery",
        ),
        ("", "per query   per class"),
        *retrieval_lines(scores),
        averages("mAP padded as SHREC'13", padded.map, padded.macro.map),
    ]
    if scores.n_skipped:
        table.append(("queries without a target", f"{scores.n_skipped:,}, left out"))
    k = min(recipe.evaluation.neighbours, len(gallery.labels))
    predictions = {
        f"{k} neighbours": knn_predictions(gallery.embeddings, gallery.labels, queries.embeddings, k=k)
    }
    table += accuracy_lines(queries, predictions, len(embedder.classes))
    classes = scores.per_class
    table.append(("", "      mAP       NN       FT       ST        E      DCG"))
    for row, label in enumerate(classes.labels.tolist()):
        values = [float(getattr(classes, name)[row]) for name in MEASURES]
        if not math.isnan(values[0]):
            text = "".join(f"{100 * value:9.2f}" for value in values)
            table.append((f"class {embedder.classes[label]}", text))
    return table


def evaluate(
    path: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    checkpoint: Literal["last", "best"] = "last",
) -> list[tuple[str, str]]:
    """Measure the embedder of a run folder on the test samples of its data set."""
    embedder, recipe = load_run(path, accelerator_of(device), checkpoint=checkpoint), recipe_of(path)
    assert isinstance(recipe, Recipe)
    splits = load_splits(recipe, data_root)
    test = embed_samples(embedder, recipe, splits.test)
    reference = embed_samples(embedder, recipe, reference_samples(recipe, splits.train))
    scores = retrieval_scores(
        test.embeddings, test.labels, distance="cosine" if embedder.normalized else "euclidean"
    )
    k = min(recipe.evaluation.neighbours, len(reference.labels))
    predictions = {
        "svm": svm_predictions(reference.embeddings, reference.labels, test.embeddings, max_train=None),
        f"{k} neighbours": knn_predictions(reference.embeddings, reference.labels, test.embeddings, k=k),
    }
    accuracies = accuracy_lines(test, predictions, len(embedder.classes))
    return [("", "per query   per class"), *retrieval_lines(scores), *accuracies]
