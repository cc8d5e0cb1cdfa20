"""The measures of a trained run as lines of a table, of runs of any kind."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from batchot.evaluation import RetrievalScores, classification_scores, head_predictions
from batchot.training.scores import Embedded

MEASURES = ("map", "nn", "ft", "st", "e", "dcg")
Line = tuple[str, str]  # name of a measure, and its value as text


def averages(name: str, micro: float, macro: float) -> Line:
    """Give the line of a measure in %.

    Args:
        name: of the measure
        micro: its mean over queries, a fraction
        macro: its mean over classes, a fraction

    >>> averages("mAP", 0.5, 0.25)
    ('mAP', '    50.00       25.00')
    """
    return name, f"{100 * micro:9.2f}   {100 * macro:9.2f}"


def retrieval_lines(scores: RetrievalScores) -> list[Line]:
    """Give the lines of all measures of retrieval."""
    return [
        averages("mAP" if name == "map" else name.upper(), getattr(scores, name), getattr(scores.macro, name))
        for name in MEASURES
    ]


def accuracy_lines(embedded: Embedded, predictions: Mapping[str, Tensor], n_classes: int) -> list[Line]:
    """Give a line for each way to tell the classes, that of the head first where there is one.

    Args:
        embedded: the items that are classified
        predictions: classes (n,) by what gave them
        n_classes: number of classes
    """
    found = dict(predictions)
    if embedded.logits is not None:
        found = {"head": head_predictions(embedded.logits)} | found
    scores = {by: classification_scores(classes, embedded.labels, n_classes) for by, classes in found.items()}
    return [averages(f"accuracy ({by})", s.accuracy, s.class_accuracy) for by, s in scores.items()]
