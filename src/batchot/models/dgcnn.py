"""DGCNN on point clouds, with edge convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from batchot.models.point_ops import PointLayer, check_clouds, nearest_neighbours
from batchot.models.sync import SyncBatchNorm
from batchot.ranks import sizes_of_all, sum_of_all


class EdgeConv(nn.Module):
    r"""Maximum over a point's neighbours of one layer on the edges to them."""

    def __init__(self, in_channels: int, out_channels: int, k: int = 20) -> None:
        super().__init__()
        self.k = k
        self.linear = nn.Linear(2 * in_channels, out_channels, bias=False)  # of (x_j - x_i, x_i)
        # Holds scale, shift and running statistics. Its own forward would see points and not edges.
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(b, p, out_channels)`` of points ``(b, p, in_channels)``."""
        b, p, c = x.shape
        neighbours = nearest_neighbours(x, self.k)  # (b, p, k)
        first = torch.arange(0, b * p, p, device=x.device).view(b, 1, 1)
        neighbours = (neighbours + first).view(b * p, self.k)  # rows of u
        W1, W2 = self.linear.weight.split(c, dim=1)
        # Never in half precision: u_j + v_i is a difference of near points' features, and 3 digits of each
        # leave none of it.
        with torch.autocast(x.device.type, enabled=False):
            ends = F.linear(x.reshape(b * p, c).to(W1.dtype), torch.cat([W1, W2 - W1]))
            u, v = ends.chunk(2, dim=1)  # (b p, out_channels) each
            mean, variance, u, v = self._statistics(u, v, neighbours)
            scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
            sign = torch.where(scale < 0, -1.0, 1.0).to(scale.dtype).detach()
            extreme = _max_of_rows(u * sign, neighbours) * sign  # max or min over j of u_j
            normalised = (extreme + v - mean) * scale + self.norm.bias
            return F.leaky_relu(normalised, 0.2).view(b, p, -1)

    def _statistics(self, u: Tensor, v: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and variance of u_j + v_i by channel, and u and v shifted as the mean supposes."""
        norm = self.norm
        if not norm.training:  # which may be set apart from the rest, to compute its statistics anew
            assert norm.running_mean is not None and norm.running_var is not None
            return norm.running_mean, norm.running_var, u, v
        # over the batches of all ranks where the normalisation is a synchronised one
        together = isinstance(norm, SyncBatchNorm) and not norm.local
        total = sum_of_all if together else (lambda x: x)
        edges = sum(sizes_of_all(neighbours.numel())) if together else neighbours.numel()
        degree = torch.bincount(neighbours.view(-1), minlength=len(u)).to(u.dtype).unsqueeze(1)  # (b p, 1)
        # Centred first: a difference of two large sums of squares has no digits left.
        mean_u, mean_v = total(torch.stack([(degree * u).sum(0), self.k * v.sum(0)])) / edges
        u, v = u - mean_u, v - mean_v
        of_neighbours = F.embedding_bag(neighbours, u, mode="sum")
        squares = (degree * u.square()).sum(0) + (v * (2 * of_neighbours + self.k * v)).sum(0)
        variance = total(squares) / edges
        with torch.no_grad():
            assert norm.running_mean is not None and norm.running_var is not None
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked += 1
            share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean_u + mean_v, share)
            norm.running_var.lerp_(variance * (edges / max(edges - 1, 1)), share)
        return torch.zeros_like(mean_u), variance, u, v


def _max_of_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Maximum over groups of rows (n, k) of x (m, c), as (n, c)."""
    if torch.onnx.is_in_onnx_export():  # ONNX has no such operation without the tensor of all edges
        return x[rows].amax(1)
    return F.embedding_bag(rows, x, mode="max")


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
