"""Metric network, heads, and backbone and head as one."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

Activation = Literal["sigmoid", "relu"]


class MetricNet(nn.Module):
    """Fully connected layers with an activation between them, a sigmoid in the paper, and none after the last."""

    def __init__(
        self,
        in_features: int,
        widths: tuple[int, ...] = (512, 256),
        activation: Activation = "sigmoid",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = widths[-1]
        layers: list[nn.Module] = []
        for width in widths[:-1]:
            # Batch normalisation subtracts the mean, and with it any bias of the layer before.
            linear = nn.Linear(in_features, width, bias=not batch_norm)
            if activation == "sigmoid" and not batch_norm:
                nn.init.xavier_uniform_(linear.weight, gain=4.0)  # Glorot's for a sigmoid
                nn.init.zeros_(linear.bias)
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


class CosineHead(nn.Module):
    r"""Scaled cosine of an embedding to one direction a class: :math:`s \cos(x, w_c)`."""

    def __init__(self, in_features: int, n_classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_classes, in_features))  # (c, d)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Linear
        self.scale = scale

    def forward(self, embeddings: Tensor) -> Tensor:  # (n, d) -> (n, c)
        """Logits of each class, shape (n, c)."""
        x, w = nn.functional.normalize(embeddings), nn.functional.normalize(self.weight)
        return self.scale * nn.functional.linear(x, w)


def length_of_features(backbone: nn.Module) -> int:
    """The length of the feature vectors of a network, or an error where it does not say it."""
    if not hasattr(backbone, "out_features"):
        name = type(backbone).__name__
        raise ValueError(f"{name} has no attribute out_features, the length of its feature vector")
    return cast(int, backbone.out_features)


class Embedder(nn.Module):
    r"""The network up to the embedding, :math:`f = f_\mathrm{metric} \circ f_\mathrm{CNN}`."""

    def __init__(self, backbone: nn.Module, head: MetricNet) -> None:
        super().__init__()
        out_features = length_of_features(backbone)
        if out_features != head.in_features:
            raise ValueError(f"the backbone gives {out_features} features, the head takes {head.in_features}")
        self.backbone = backbone
        self.head = head
        self.embedding_dim = head.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(n, embedding_dim)`` of a batch of ``n`` inputs as the backbone takes them."""
        embeddings: Tensor = self.head(self.backbone(x))
        return embeddings
