"""Metric networks that are known to work: the paper's and a modern one."""

from __future__ import annotations

from typing import Final

from batchot.models.metric_net import MetricNet

PAPER_WIDTHS: Final = (2048, 512, 128)
"""Widths of the paper's metric network after the 4096 features of a sketch or shape network."""


def paper_head(in_features: int) -> MetricNet:
    """The paper's metric network for sketches and shapes: 2048-512-128 with sigmoids between.

    Args:
        in_features: length of the feature vector, 4096 in the paper.

    Source:
        Xu, Sun, Liu, CVPR 2019, section 4.

    Example:
        >>> from batchot.models import paper_head
        >>> paper_head(4096).out_features
        128
    """
    return MetricNet(in_features, PAPER_WIDTHS, activation="sigmoid")


def modern_head(
    in_features: int, embedding_dim: int = 256, hidden: int = 512, dropout: float = 0.0
) -> MetricNet:
    """One hidden layer with batch normalisation, ReLU and dropout, then a linear layer.

    Args:
        in_features: length of the feature vector.
        embedding_dim: dimension of the embedding.
        hidden: width of the hidden layer.
        dropout: share of the hidden layer that is set to 0 in training.

    Source:
        The projection head of T. Chen et al., "A simple framework for contrastive learning of visual
        representations" (SimCLR), ICML 2020, and the dropout of the heads of PointNet and DGCNN (0.3 and 0.5).

    Example:
        >>> from batchot.models import modern_head
        >>> modern_head(128, dropout=0.3).out_features
        256
    """
    return MetricNet(
        in_features, (hidden, embedding_dim), activation="relu", batch_norm=True, dropout=dropout
    )
