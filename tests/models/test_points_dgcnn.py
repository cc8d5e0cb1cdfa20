"""DGCNN: against the network on all edges, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from batchot.models import DGCNN
from oracles.point_networks import edge_conv


def test_against_the_network_on_all_edges() -> None:
    torch.manual_seed(0)
    network = DGCNN(k=5, widths=(6, 8), features=10).double()
    x = torch.randn(3, 20, 3, dtype=torch.float64)
    outputs, after = [], x
    for layer in network.layers:
        norm = nn.BatchNorm2d(layer.norm.num_features).double()
        after = edge_conv(after, layer.linear.weight, norm, k=5)
        outputs.append(after)
    rows = torch.cat(outputs, dim=2) @ network.last.linear.weight.T
    rows = F.leaky_relu(F.batch_norm(rows.transpose(1, 2), None, None, training=True), 0.2)  # (b, f, p)
    expected = torch.cat([rows.max(2).values, rows.mean(2)], dim=1)
    torch.testing.assert_close(network(x), expected)


def test_parameters_are_those_of_the_original() -> None:
    network = DGCNN()
    widths = [tuple(p.shape) for n, p in network.named_parameters() if "linear" in n]
    assert widths == [(64, 6), (64, 128), (128, 128), (256, 256), (1024, 512)]
    assert network.out_features == 2048


def test_clouds_smaller_than_a_neighbourhood() -> None:
    with pytest.raises(ValueError, match=r"p >= 20, got \(2, 19, 3\)"):
        DGCNN()(torch.zeros(2, 19, 3))
