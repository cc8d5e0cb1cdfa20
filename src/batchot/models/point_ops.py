"""What the networks on point clouds share: checks, nearest neighbours, a layer on every point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Distances are held for so many pairs of points at a time, 64 MB.
_PAIRS_AT_ONCE = 2**24


def check_clouds(x: Tensor, in_channels: int, at_least: int = 1) -> None:
    """Refuse what is no batch of point clouds."""
    if x.ndim != 3 or x.shape[2] != in_channels or x.shape[0] < 1 or x.shape[1] < at_least:
        raise ValueError(
            f"expected point clouds of shape (b, p, {in_channels}) with b >= 1 and p >= {at_least}, "
            f"got {tuple(x.shape)}"
        )


@torch.no_grad()
def nearest_neighbours(x: Tensor, k: int) -> Tensor:
    r"""The ``k`` points of the same cloud nearest to each point, itself among them."""
    _, p, _ = x.shape
    if not 1 <= k <= p:
        raise ValueError(f"k must be between 1 and the number of points {p}, got {k}")
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
