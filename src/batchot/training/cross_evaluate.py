"""Measure a trained cross-modal run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from batchot.evaluation import RetrievalScores, knn_predictions, retrieval_scores
from batchot.training.cross_inputs import load_cross
from batchot.training.cross_run import embed_tower_samples
from batchot.training.cross_trained import load_cross_run
from batchot.training.device import Device, accelerator_of
from batchot.training.score_table import MEASURES, accuracy_lines, averages, retrieval_lines


def evaluate_cross(
    path: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    checkpoint: Literal["last", "best"] = "last",
) -> list[tuple[str, str]]:
    """Measure how well the queries of a run retrieve their targets.

    Args:
        path: run folder
        data_root: where the data lies
        device: "auto" takes a GPU if there is one
        checkpoint: "last" or "best"

    Returns:
        Pairs of a measure's name and its value as text, in %: averages over queries and over classes, the average
        precision in SHREC'13's convention by that name, and all measures of each class.

    Raises:
        RunError: there is no run, or its checkpoint is damaged
        batchot.data.DataError: data is missing or damaged
    """
    embedder = load_cross_run(path, accelerator_of(device), checkpoint=checkpoint)
    recipe = embedder.recipe
    data = load_cross(recipe, data_root)
    queries = embed_tower_samples(embedder, recipe.query, data.queries)
    gallery = embed_tower_samples(embedder, recipe.target, data.gallery)

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
