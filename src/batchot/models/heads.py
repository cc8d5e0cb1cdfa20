"""Metric network and heads on top of backbones."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

Activation = Literal["sigmoid", "relu"]


class MetricNet(nn.Module):
    r"""Fully connected layers with an activation between them, and none after the last.

    .. math:: f(x) = W_K\,\sigma(W_{K-1} \cdots \sigma(W_1 x + b_1) \cdots + b_{K-1}) + b_K

    Args:
        in_features: length of the feature vector.
        widths: length after each layer; the last is the dimension of the embedding.
        activation: ``"sigmoid"``, the paper's, or ``"relu"``.
        batch_norm: normalise over the batch before each activation.
        dropout: share of the values after each activation that is set to 0 in training, in [0, 1).

    Attributes:
        out_features: dimension of the embedding, ``widths[-1]``.

    Raises:
        ValueError: on no width, a size below 1, an unknown activation, a share out of range, and in ``forward``
            on another shape.

    Source:
        Xu, Sun, Liu, "Learning with Batch-wise Optimal Transport Loss for 3D Shape Recognition", CVPR 2019,
        section 4.

    Example:
        >>> import torch
        >>> from batchot.models import MetricNet
        >>> head = MetricNet(in_features=3136, widths=(512, 256))
        >>> head(torch.zeros(2, 3136)).shape, head.out_features
        (torch.Size([2, 256]), 256)
    """

    def __init__(
        self,
        in_features: int,
        widths: tuple[int, ...] = (512, 256),
        activation: Activation = "sigmoid",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not widths or min(in_features, *widths) < 1:
            raise ValueError(
                f"in_features and at least one width must be 1 or more, got {in_features} and {widths}"
            )
        if activation not in get_args(Activation):
            raise ValueError(
                f"activation must be one of {', '.join(get_args(Activation))}, got {activation!r}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.in_features = in_features
        self.out_features = widths[-1]
        layers: list[nn.Module] = []
        for width in widths[:-1]:
            # Batch normalisation subtracts the mean, and with it any bias of the layer before.
            linear = nn.Linear(in_features, width, bias=not batch_norm)
            if activation == "sigmoid" and not batch_norm:
                _widen_for_sigmoid(linear)
            layers.append(linear)
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.Sigmoid() if activation == "sigmoid" else nn.ReLU())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            in_features = width
        layers.append(nn.Linear(in_features, widths[-1]))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(n, out_features)`` of features ``(n, in_features)``."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"expected features of shape (n, {self.in_features}), got {tuple(x.shape)}")
        embeddings: Tensor = self.layers(x)
        return embeddings


def _widen_for_sigmoid(linear: nn.Linear) -> None:
    """Initialise a layer before a sigmoid with Glorot's four times wider uniform weights."""
    nn.init.xavier_uniform_(linear.weight, gain=4.0)
    nn.init.zeros_(linear.bias)


class CosineHead(nn.Module):
    r"""Scaled cosine of an embedding to one direction a class: :math:`s \cos(x, w_c)`.

    Args:
        in_features: d, width of the embeddings
        n_classes: number of classes
        scale: s

    >>> CosineHead(4, 3, scale=10.0)(torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, in_features: int, n_classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_classes, in_features))  # (c, d)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Linear
        self.scale = scale

    def forward(self, embeddings: Tensor) -> Tensor:  # (n, d) -> (n, c)
        """Logits of each class, shape (n, c)."""
        x, w = nn.functional.normalize(embeddings), nn.functional.normalize(self.weight)
        return self.scale * nn.functional.linear(x, w)


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
