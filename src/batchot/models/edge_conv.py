"""EdgeConv without a tensor of all edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from batchot.models.point_ops import nearest_neighbours
from batchot.models.sync_norm import SyncBatchNorm
from batchot.ranks import sizes_of_all, sum_of_all


class EdgeConv(nn.Module):
    r"""Maximum over a point's neighbours of one layer on the edges to them.

    .. math:: x_i' = \max_{j \in N(i)} \sigma(\mathrm{BN}(e_{ij})), \quad
        e_{ij} = W_1 (x_j - x_i) + W_2 x_i = u_j + v_i, \quad u_j = W_1 x_j,\; v_i = (W_2 - W_1) x_i

    with leaky ReLU of slope 0.2 for :math:`\sigma` and the ``k`` nearest points in feature space, the point
    itself among them, for ``N(i)``. The layer is linear in each end of the edge, so it is done once a point
    instead of once an edge (``k`` times less work), and what follows needs three sums of neighbours only:

    - the batch normalisation's mean and variance are those over all edges, as in the original:
      :math:`\sum_{ij} (u_j + v_i)^2 = \sum_j d_j u_j^2 + 2 \sum_i v_i \sum_{j \in N(i)} u_j + k \sum_i v_i^2`,
      :math:`d_j` the number of points that have j for a neighbour, once u and v are centred;
    - normalisation and leaky ReLU are monotone, so the maximum over the edges is that of :math:`u_j`, or its
      minimum in channels where the normalisation's scale is negative.

    Args:
        in_channels: length of a point's feature vector.
        out_channels: its length after the layer.
        k: number of neighbours.

    Raises:
        ValueError: in ``forward`` on clouds of fewer than ``k`` points.

    Source:
        Y. Wang et al., "Dynamic graph CNN for learning on point clouds", ACM Transactions on Graphics 2019, with
        the edge features and normalisation of the authors' program.

    Example:
        >>> import torch
        >>> from batchot.models.edge_conv import EdgeConv
        >>> EdgeConv(3, 8, k=4)(torch.randn(2, 10, 3)).shape
        torch.Size([2, 10, 8])
    """

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
