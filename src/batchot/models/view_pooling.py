"""From the features of the views of a shape to the features of the shape."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

Pooling = Literal["max", "mean", "max-mean", "attention", "concat"]


class ViewPooling(nn.Module):
    r"""One feature vector from those of ``v`` views.

    .. math::
        z = \max_k h_k, \qquad z = \frac 1 v \sum_k h_k, \qquad
        z = \Big(\max_k h_k, \frac 1 v \sum_k h_k\Big), \qquad
        z = \sum_k a_k h_k, \qquad z = (h_1, \dots, h_v)

    for ``"max"`` (element-wise, the paper's), ``"mean"``, ``"max-mean"``, ``"attention"`` (weights of
    ``GatedAttention``) and ``"concat"``. All but the last do not depend on the order of the views and take any number
    of them. ``"concat"`` is for cameras that stand at the same places around every (aligned) shape: it alone knows
    which view is which.

    Args:
        pooling: one of the five.
        in_features: length ``f`` of the feature vector of a view.
        n_views: number of views, needed by ``"concat"``; where it is given, another number is refused.

    Attributes:
        out_features: ``f``, ``2 * f`` for ``"max-mean"`` and ``v * f`` for ``"concat"``.

    Raises:
        ValueError: on an unknown pooling, sizes below 1, ``"concat"`` without ``n_views``, and in ``forward`` on
            another shape or no view.

    Source:
        max: H. Su et al., "Multi-view convolutional neural networks for 3D shape recognition", ICCV 2015.
        concat: A. Goyal et al. (SimpleView), ICML 2021.

    Example:
        >>> import torch
        >>> from batchot.models import ViewPooling
        >>> ViewPooling("max", 2)(torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]))
        tensor([[1., 3.]])
    """

    def __init__(self, pooling: Pooling, in_features: int, n_views: int | None = None) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}, got {pooling!r}")
        if in_features < 1 or (n_views is not None and n_views < 1):
            raise ValueError(f"in_features and n_views must be at least 1, got {in_features} and {n_views}")
        self.pooling = pooling
        self.in_features = in_features
        self.n_views = n_views
        self.out_features = in_features
        if pooling == "concat":
            if n_views is None:
                raise ValueError("pooling 'concat' needs n_views, the number of cameras")
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
    r"""Learned weights of the views of a shape.

    .. math:: a_k = \mathrm{softmax}_k\, w^\top (\tanh(V h_k) \odot \mathrm{sigmoid}(U h_k))

    Args:
        in_features: length of ``h_k``.
        hidden: rows of V and U.

    Raises:
        ValueError: on a size below 1.

    Source:
        M. Ilse, J. Tomczak, M. Welling, "Attention-based deep multiple instance learning", ICML 2018, eq. 9.

    Example:
        >>> import torch
        >>> from batchot.models.view_pooling import GatedAttention
        >>> GatedAttention(3)(torch.zeros(1, 4, 3)).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, in_features: int, hidden: int = 128) -> None:
        super().__init__()
        if min(in_features, hidden) < 1:
            raise ValueError(f"in_features and hidden must be at least 1, got {in_features} and {hidden}")
        self.value = nn.Linear(in_features, hidden)
        self.gate = nn.Linear(in_features, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)  # a bias would cancel in the softmax

    def forward(self, x: Tensor) -> Tensor:
        """Weights ``(b, v)``, with sum 1 over the views, of features ``(b, v, f)``."""
        scores = self.score(torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x)))  # (b, v, 1)
        return torch.softmax(scores.squeeze(2).float(), dim=1).to(x.dtype)
