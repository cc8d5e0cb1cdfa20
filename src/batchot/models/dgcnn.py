"""DGCNN: EdgeConv layers on graphs of neighbours that are found anew in every layer's features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from batchot.models.edge_conv import EdgeConv
from batchot.models.point_ops import PointLayer, check_clouds


class DGCNN(nn.Module):
    r"""EdgeConv layers, their outputs side by side, one more layer, then maximum and mean over the points.

    .. math:: f(x) = (\max_i h(y_i), \mathrm{mean}_i\, h(y_i)), \quad y = (x^{(1)}, \dots, x^{(L)}), \quad
        x^{(l)} = \mathrm{EdgeConv}_l(x^{(l-1)})

    Args:
        in_channels: coordinates of a point.
        k: neighbours of a point, itself among them.
        widths: feature lengths after the EdgeConv layers.
        features: length after the last layer, half of ``out_features``.

    Attributes:
        out_features: ``2 * features``.

    Raises:
        ValueError: on sizes below 1, and in ``forward`` on another shape or clouds of fewer than ``k`` points.

    Source:
        Y. Wang et al., "Dynamic graph CNN for learning on point clouds", ACM Transactions on Graphics 2019.

    Example:
        >>> import torch
        >>> from batchot.models import DGCNN
        >>> backbone = DGCNN(k=4, widths=(8, 16), features=32)
        >>> backbone(torch.randn(2, 50, 3)).shape, backbone.out_features
        (torch.Size([2, 64]), 64)
    """

    def __init__(
        self,
        in_channels: int = 3,
        k: int = 20,
        widths: tuple[int, ...] = (64, 64, 128, 256),
        features: int = 1024,
    ) -> None:
        super().__init__()
        if not widths or min(in_channels, k, features, *widths) < 1:
            raise ValueError(
                "in_channels, k, features and at least one width must be 1 or more, "
                f"got {in_channels}, {k}, {features} and {widths}"
            )
        self.in_channels = in_channels
        self.k = k
        self.out_features = 2 * features
        self.layers = nn.ModuleList(
            EdgeConv(before, after, k)
            for before, after in zip((in_channels, *widths[:-1]), widths, strict=True)
        )
        self.last = PointLayer(sum(widths), features, negative_slope=0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(b, out_features)`` of clouds ``(b, p, in_channels)``."""
        check_clouds(x, self.in_channels, at_least=self.k)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        points = self.last(torch.cat(outputs, dim=2))  # (b, p, features)
        return torch.cat([points.max(1).values, points.mean(1)], dim=1)
