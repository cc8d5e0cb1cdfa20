"""Multi-view networks: one image network for all views of a shape."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from batchot.models.embedder import HasOutFeatures
from batchot.models.view_pooling import Pooling, ViewPooling


class MVCNN(nn.Module):
    r"""The same backbone for every view of a shape, then view pooling.

    .. math:: f_\mathrm{CNN}(x) = \mathrm{pool}_k\, g(x_k)

    Views whose channels lie last in memory (``images.contiguous(memory_format=torch.channels_last)`` unflattened
    into ``(b, v, c, h, w)``) reach the backbone so, without a copy.

    Args:
        backbone: ``g``, an image network with the attribute ``out_features``.
        pooling: ``"max"`` (the paper's), ``"mean"``, ``"max-mean"``, ``"attention"`` or ``"concat"``, see
            ``ViewPooling``.
        n_views: number of views of a shape; needed by ``"concat"``, else any number is taken.
        channels_apart: each channel of a view is a picture of its own, so that views of c channels are c times as
            many pictures of one channel, which is what a backbone that was trained on photos takes best.
        views_at_once: in eval mode, views (of all shapes together) that go through the backbone at a time, which
            bounds the memory; None takes all. In training batch normalisation needs them all at once.

    Attributes:
        out_features: length of the feature vector of a shape.

    Raises:
        ValueError: on a backbone without ``out_features``, settings out of range, and in ``forward`` on another
            number of dimensions, views or channels, or an empty batch.

    Source:
        H. Su et al., "Multi-view convolutional neural networks for 3D shape recognition", ICCV 2015.

    Example:
        >>> import torch
        >>> from batchot.models import MVCNN, make_backbone
        >>> network = MVCNN(make_backbone("resnet10-w4", in_channels=1, image_size=32))
        >>> network(torch.zeros(2, 12, 1, 32, 32)).shape, network.out_features
        (torch.Size([2, 32]), 32)
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
        if not hasattr(backbone, "out_features"):
            raise ValueError(
                f"{type(backbone).__name__} has no attribute out_features, the length of its feature vector"
            )
        if views_at_once is not None and views_at_once < 1:
            raise ValueError(f"views_at_once must be at least 1 or None, got {views_at_once}")
        self.backbone = backbone
        self.channels_apart = channels_apart
        self.pooling = ViewPooling(pooling, cast(HasOutFeatures, backbone).out_features, n_views)
        self.out_features = self.pooling.out_features
        self.views_at_once = views_at_once

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(b, out_features)`` of shapes from their views ``(b, v, c, h, w)``."""
        features: Tensor = self.pooling(self.view_features(x))
        return features

    def view_features(self, x: Tensor) -> Tensor:
        """Features ``(b, v, f)`` of the single views ``(b, v, c, h, w)``, before they are pooled.

        With ``channels_apart`` there are v c pictures of each shape.
        """
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
