"""Backbone and metric network as one."""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor, nn

from batchot.models.heads import MetricNet


class HasOutFeatures(Protocol):
    """A network that knows the length of the feature vectors ``(n, out_features)`` it gives."""

    out_features: int


class Embedder(nn.Module):
    r"""The network up to the embedding, :math:`f = f_\mathrm{metric} \circ f_\mathrm{CNN}`.

    Args:
        backbone: :math:`f_\mathrm{CNN}`, a module with the attribute ``out_features``.
        head: :math:`f_\mathrm{metric}`.

    Attributes:
        embedding_dim: dimension of the embedding.

    Raises:
        ValueError: when the backbone gives another number of features than the head takes.

    Example:
        >>> import torch
        >>> from batchot.models import Embedder, LeNet5, MetricNet
        >>> backbone = LeNet5()
        >>> embedder = Embedder(backbone, MetricNet(backbone.out_features))
        >>> embedder(torch.zeros(2, 1, 28, 28)).shape, embedder.embedding_dim
        (torch.Size([2, 256]), 256)
    """

    def __init__(self, backbone: nn.Module, head: MetricNet) -> None:
        super().__init__()
        if not hasattr(backbone, "out_features"):
            raise ValueError(
                f"{type(backbone).__name__} has no attribute out_features, the length of its feature vector"
            )
        out_features = cast(HasOutFeatures, backbone).out_features
        if out_features != head.in_features:
            raise ValueError(f"the backbone gives {out_features} features, the head takes {head.in_features}")
        self.backbone = backbone
        self.head = head
        self.embedding_dim = head.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(n, embedding_dim)`` of a batch of ``n`` inputs as the backbone takes them."""
        embeddings: Tensor = self.head(self.backbone(x))
        return embeddings
