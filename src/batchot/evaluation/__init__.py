"""Measures of embeddings: retrieval (NN, FT, ST, E, DCG, mAP) and classification."""

from __future__ import annotations

from batchot.evaluation.classification import (
    ClassificationScores,
    classification_scores,
    head_predictions,
    knn_predictions,
    svm_predictions,
)
from batchot.evaluation.retrieval import retrieval_scores
from batchot.evaluation.scores import (
    ApConvention,
    ClassMeans,
    PrecisionRecallCurve,
    QueryScores,
    RetrievalAverages,
    RetrievalScores,
)

__all__ = [
    "ApConvention", "ClassMeans", "ClassificationScores", "PrecisionRecallCurve", "QueryScores",
    "RetrievalAverages", "RetrievalScores", "classification_scores", "head_predictions", "knn_predictions",
    "retrieval_scores", "svm_predictions",
]  # fmt: skip
