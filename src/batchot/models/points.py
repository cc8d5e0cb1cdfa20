"""Networks on point clouds: PointNet, and DGCNN with edge convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from batchot.models.layers import SyncBatchNorm
from batchot.ranks import sizes_of_all, sum_of_all

# Distances are held for so many pairs of points at a time, 64 MB.
_PAIRS_AT_ONCE = 2**24


def check_clouds(x: Tensor, in_channels: int, at_least: int = 1) -> None:
    if x.ndim != 3 or x.shape[2] != in_channels or x.shape[0] < 1 or x.shape[1] < at_least:
        raise ValueError(
            f"expected point clouds of shape (b, p, {in_channels}) with b >= 1 and p >= {at_least}, "
            f"got {tuple(x.shape)}"
        )


@torch.no_grad()
def nearest_neighbours(x: Tensor, k: int) -> Tensor:
    r"""The ``k`` points of the same cloud nearest to each point, itself among them."""
    p = x.shape[1]
    # Half precision has 3 digits: too few for a difference of squares, which is also why the mean goes first.
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    x = x - x.mean(1, keepdim=True)
    with torch.autocast(x.device.type, enabled=False):
        if torch.onnx.is_in_onnx_export():  # one sequence of operations for any number of clouds
            return _nearest(x, k)
        return torch.cat([_nearest(part, k) for part in x.split(max(1, _PAIRS_AT_ONCE // (p * p)))])


def _nearest(x: Tensor, k: int) -> Tensor:
    # ||x_i||^2 is the same for every j and left out.
    scores = torch.baddbmm(x.square().sum(2).unsqueeze(1), x, x.transpose(1, 2), alpha=-2)  # (b, p, p)
    return scores.topk(k, dim=2, largest=False, sorted=False).indices


class PointLayer(nn.Module):
    """One linear layer with batch normalisation and an activation, the same on every point."""

    def __init__(self, in_channels: int, out_channels: int, negative_slope: float = 0.0) -> None:
        super().__init__()
        # Batch normalisation subtracts the mean, and with it any bias of the layer before.
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)
        self.activation: nn.Module = (
            nn.LeakyReLU(negative_slope, inplace=True) if negative_slope else nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., out_channels)`` of features ``(..., in_channels)``."""
        rows = self.linear(x.reshape(-1, x.shape[-1]))
        rows = self.activation(self.norm(rows))
        return rows.unflatten(0, x.shape[:-1])


class PointNet(nn.Module):
    """Layers shared by all points and the maximum over them (C. Qi et al., CVPR 2017)."""

    def __init__(self, in_channels: int = 3, out_features: int = 1024) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_features = out_features
        self.local = nn.Sequential(PointLayer(in_channels, 64), PointLayer(64, 64))
        self.wide = nn.Sequential(PointLayer(64, 64), PointLayer(64, 128), PointLayer(128, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(b, out_features)`` of clouds ``(b, p, in_channels)``."""
        check_clouds(x, self.in_channels)
        features: Tensor = self.wide(self.local(x)).max(1).values
        return features


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
    """EdgeConv layers side by side, one more layer, then maximum and mean over the points (Y. Wang et al., 2019)."""

    def __init__(
        self,
        in_channels: int = 3,
        k: int = 20,
        widths: tuple[int, ...] = (64, 64, 128, 256),
        features: int = 1024,
    ) -> None:
        super().__init__()
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
