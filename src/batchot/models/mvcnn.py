"""MVCNN: one network on all views, pooled."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from batchot.models.heads import length_of_features

Pooling = Literal["max", "mean", "max-mean", "attention", "concat"]


class ViewPooling(nn.Module):
    """One feature vector from those of ``v`` views; only ``"concat"`` depends on their order."""

    def __init__(self, pooling: Pooling, in_features: int, n_views: int | None = None) -> None:
        super().__init__()
        self.pooling = pooling
        self.in_features = in_features
        self.n_views = n_views
        self.out_features = in_features
        if pooling == "concat":
            assert n_views is not None
            self.out_features = n_views * in_features
        if pooling == "max-mean":
            self.out_features = 2 * in_features
        if pooling == "attention":
            self.attention = GatedAttention(in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(b, out_features)`` of shapes from the features ``(b, v, f)`` of their views."""
        wanted = "v" if self.n_views is None else self.n_views
        if (
            x.ndim != 3
            or x.shape[2] != self.in_features
            or x.shape[1] < 1
            or x.shape[1] != (self.n_views or x.shape[1])
        ):
            raise ValueError(
                f"expected features of shape (b, {wanted}, {self.in_features}) with at least one view, "
                f"got {tuple(x.shape)}"
            )
        if self.pooling == "max":
            return x.amax(1)
        if self.pooling == "mean":
            return x.mean(1)
        if self.pooling == "max-mean":
            return torch.cat([x.amax(1), x.mean(1)], dim=1)
        if self.pooling == "attention":
            return (self.attention(x).unsqueeze(2) * x).sum(1)
        return x.flatten(1)


class GatedAttention(nn.Module):
    r"""Learned weights of the views of a shape."""

    def __init__(self, in_features: int, hidden: int = 128) -> None:
        super().__init__()
        self.value = nn.Linear(in_features, hidden)
        self.gate = nn.Linear(in_features, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)  # a bias would cancel in the softmax

    def forward(self, x: Tensor) -> Tensor:
        """Weights ``(b, v)``, with sum 1 over the views, of features ``(b, v, f)``."""
        scores = self.score(torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x)))  # (b, v, 1)
        # Half precision is too coarse for weights; double stays.
        wide = torch.promote_types(x.dtype, torch.float32)
        return torch.softmax(scores.squeeze(2), dim=1, dtype=wide).to(x.dtype)


class MVCNN(nn.Module):
    """The same backbone for every view of a shape, then view pooling (H. Su et al., ICCV 2015).

    In eval mode ``views_at_once`` views go through the backbone at a time, which bounds the memory; in training batch
    normalisation needs them all at once. With ``channels_apart`` each channel of a view is a picture of its own.
    """

    def __init__(
        self,
        backbone: nn.Module,
        pooling: Pooling = "max",
        *,
        n_views: int | None = None,
        channels_apart: bool = False,
        views_at_once: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels_apart = channels_apart
        self.pooling = ViewPooling(pooling, length_of_features(backbone), n_views)
        self.out_features = self.pooling.out_features
        self.views_at_once = views_at_once

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(b, out_features)`` of shapes from their views ``(b, v, c, h, w)``."""
        features: Tensor = self.pooling(self.view_features(x))
        return features

    def view_features(self, x: Tensor) -> Tensor:
        """Features ``(b, v, f)`` of views ``(b, v, c, h, w)``; of v c pictures with ``channels_apart``."""
        if self.channels_apart and x.ndim == 5:
            x = x.flatten(1, 2).unsqueeze(2)  # (b, v c, 1, h, w)
        channels = getattr(self.backbone, "in_channels", None)
        if x.ndim != 5 or x.numel() == 0 or x.shape[2] != (channels or x.shape[2]):
            raise ValueError(
                f"expected views of shape (b, v, {channels or 'c'}, h, w), none of them 0, got {tuple(x.shape)}"
            )
        if x.shape[1] != (self.pooling.n_views or x.shape[1]):
            raise ValueError(f"expected {self.pooling.n_views} views of each shape, got {tuple(x.shape)}")
        images = x.flatten(0, 1)  # (b v, c, h, w)
        features: Tensor
        if self.training or self.views_at_once is None:
            features = self.backbone(images)
        else:
            features = torch.cat([self.backbone(part) for part in images.split(self.views_at_once)])
        return features.unflatten(0, x.shape[:2])
