"""Backbone and metric network as one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchot.models import Embedder, LeNet5, MetricNet


def make() -> Embedder:
    torch.manual_seed(0)
    backbone = LeNet5(1, 8, (4, 6), batch_norm=True)
    return Embedder(backbone, MetricNet(backbone.out_features, (16, 5), batch_norm=True))


def test_composition_and_dimension() -> None:
    embedder = make().eval()
    x = torch.randn(3, 1, 8, 8)
    assert embedder.embedding_dim == 5
    torch.testing.assert_close(embedder(x), embedder.head(embedder.backbone(x)))


def test_every_parameter_learns() -> None:
    embedder = make()
    embedder(torch.randn(16, 1, 8, 8)).square().sum().backward()
    assert [name for name, p in embedder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_state_goes_over() -> None:
    first, second = make(), make()
    first(torch.randn(16, 1, 8, 8))
    second.load_state_dict(first.state_dict())
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_parts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"the backbone gives 3136 features, the head takes 100"):
        Embedder(LeNet5(), MetricNet(100))
    with pytest.raises(ValueError, match=r"Flatten has no attribute out_features"):
        Embedder(nn.Flatten(), MetricNet(100))


def test_wrong_images() -> None:
    with pytest.raises(ValueError, match=r"got \(3, 1, 9, 9\)"):
        make()(torch.zeros(3, 1, 9, 9))
