"""Measure a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from batchot.evaluation import knn_predictions, retrieval_scores, svm_predictions
from batchot.training.device import Device, accelerator_of
from batchot.training.inputs import load_splits, reference_samples
from batchot.training.run import embed_samples
from batchot.training.score_table import accuracy_lines, retrieval_lines
from batchot.training.trained import load_run


def evaluate(
    path: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    checkpoint: Literal["last", "best"] = "last",
) -> list[tuple[str, str]]:
    """Measure the embedder of a run folder on the test samples of its data set.

    Args:
        path: run folder
        data_root: where the data lies
        device: "auto" takes a GPU if there is one
        checkpoint: "last" or "best"

    Returns:
        Pairs of a measure's name and its value as text, in %; averages over queries and over classes.

    Raises:
        RunError: there is no run, or its checkpoint is damaged
        batchot.data.DataError: data is missing or damaged
    """
    accelerator = accelerator_of(device)
    embedder = load_run(path, accelerator, checkpoint=checkpoint)
    recipe = embedder.recipe
    splits = load_splits(recipe, data_root)
    test = embed_samples(embedder, splits.test)
    reference = embed_samples(embedder, reference_samples(recipe, splits.train))
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
