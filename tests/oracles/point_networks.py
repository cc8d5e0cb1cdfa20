"""Point networks as their papers write them: one edge, one point at a time or with convolutions of size 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def neighbours(cloud: Tensor, k: int) -> list[list[int]]:
    """The k nearest points of each point, sorted, by loops."""
    found = []
    for i in range(len(cloud)):
        order = sorted(range(len(cloud)), key=lambda j: float((cloud[i] - cloud[j]).square().sum()))
        found.append(sorted(order[:k]))
    return found


def edge_conv(x: Tensor, weight: Tensor, norm: nn.BatchNorm2d, k: int) -> Tensor:
    """max_j LeakyReLU(BN(W [x_j - x_i; x_i])) with a tensor of all edges: (b, p, c) -> (b, p, out)."""
    edges = []
    for cloud in x:
        nearest = torch.tensor(neighbours(cloud.detach(), k))
        there = cloud[nearest]  # (p, k, c)
        here = cloud.unsqueeze(1).expand_as(there)
        edges.append(torch.cat([there - here, here], dim=2))
    images = torch.stack(edges).permute(0, 3, 1, 2)  # (b, 2c, p, k)
    after = F.leaky_relu(norm(F.conv2d(images, weight[:, :, None, None])), 0.2)
    return after.max(dim=3).values.transpose(1, 2)
