"""The presets of the metric network."""

from __future__ import annotations

import torch
from torch import nn

from batchot.models import modern_head, paper_head


def test_paper() -> None:
    head = paper_head(4096)
    widths = [tuple(m.weight.shape) for m in head.layers if isinstance(m, nn.Linear)]
    assert widths == [(2048, 4096), (512, 2048), (128, 512)]
    assert sum(isinstance(m, nn.Sigmoid) for m in head.layers) == 2


def test_modern() -> None:
    kinds = [type(m) for m in modern_head(8, dropout=0.3).layers]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout, nn.Linear]
    assert nn.Dropout not in [type(m) for m in modern_head(8).layers]
    assert modern_head(8, embedding_dim=5, hidden=6)(torch.randn(3, 8)).shape == (3, 5)
