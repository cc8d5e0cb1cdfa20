"""Recalibrated statistics are those of all batches together, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from batchot.models.points import EdgeConv
from batchot.training.network import recalibrate


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))


def test_statistics_are_the_means_over_the_batches() -> None:
    batches = [3 + torch.randn(8, 1, 6, 6) * k for k in (1.0, 2.0, 5.0)]
    module = network().eval()
    weights = [p.clone() for p in module.parameters()]
    recalibrate(module, [(module, batch) for batch in batches])
    maps = [module[0](batch) for batch in batches]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    torch.testing.assert_close(module[1].running_mean, mean)
    torch.testing.assert_close(module[1].running_var, variance)
    assert not any(m.training for m in module.modules())
    assert module[1].momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(weights, module.parameters(), strict=True))


def test_restored_after_an_error() -> None:
    module = network().eval()
    with pytest.raises(RuntimeError):
        recalibrate(module, [(module, torch.zeros(1, 2, 6, 6))])
    assert not module[1].training
    assert module[1].momentum == 0.1


def test_without_batch_normalisation_nothing_is_computed() -> None:
    def batches():  # type: ignore[no-untyped-def]
        raise AssertionError("asked for a batch")
        yield

    recalibrate(nn.Linear(2, 2), batches())


def test_edges_are_normalised_by_the_means_over_the_batches() -> None:
    """EdgeConv computes its statistics itself, without a call of its normalisation."""
    torch.manual_seed(0)
    layer = EdgeConv(3, 4, k=3)
    batches = [torch.randn(2, 6, 3) * k for k in (1.0, 2.0, 5.0)]
    layer.norm.momentum = 1.0  # the statistics of the last batch alone
    means, variances = [], []
    for batch in batches:
        layer.train()(batch)
        means.append(layer.norm.running_mean.clone())
        variances.append(layer.norm.running_var.clone())
    recalibrate(layer.eval(), [(layer, batch) for batch in batches])
    torch.testing.assert_close(layer.norm.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(layer.norm.running_var, torch.stack(variances).mean(0))
