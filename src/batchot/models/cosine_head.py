"""A classifier by directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
