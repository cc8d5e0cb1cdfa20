"""The metric network: formula, initial weights, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from batchot.models import MetricNet


@pytest.mark.parametrize("widths", [(5,), (6, 5), (8, 7, 6, 5)])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_against_the_formula(widths: tuple[int, ...], activation) -> None:
    torch.manual_seed(0)
    head = MetricNet(9, widths, activation)
    assert (head.in_features, head.out_features) == (9, 5)
    x = torch.randn(4, 9)
    expected = x
    parameters = list(head.parameters())
    for k, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        assert weight.shape[0] == widths[k]
        expected = expected @ weight.T + bias
        if k < len(widths) - 1:
            expected = expected.sigmoid() if activation == "sigmoid" else expected.clamp(min=0)
    torch.testing.assert_close(head(x), expected)


def test_nothing_after_the_last_layer() -> None:
    torch.manual_seed(0)
    embeddings = MetricNet(9, (16, 8), "relu")(10 * torch.randn(50, 9))
    assert (embeddings < 0).any()
    assert (embeddings > 1).any()


def test_batch_norm_stands_before_each_activation() -> None:
    kinds = [type(layer) for layer in MetricNet(9, (8, 7, 6), batch_norm=True).layers]
    stage = [nn.Linear, nn.BatchNorm1d, nn.Sigmoid]
    assert kinds == [*stage, *stage, nn.Linear]
    torch.manual_seed(0)
    head = MetricNet(9, (8, 7, 6), batch_norm=True)
    x = torch.randn(20, 9)
    torch.testing.assert_close(head(x), head(100 * x), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("widths", [(512, 256), (2048, 512, 128)])
def test_initial_embeddings_through_sigmoids_tell_samples_apart(widths: tuple[int, ...]) -> None:
    def spread(head: MetricNet) -> float:
        embeddings = F.normalize(head(x), dim=1)
        return torch.cdist(embeddings, embeddings).square().mean().item()

    torch.manual_seed(0)
    x = torch.randn(64, 512).clamp(min=0)
    with torch.no_grad():
        ours = MetricNet(512, widths)
        plain = MetricNet(512, widths)
        for layer in plain.layers:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        assert spread(ours) > 10 * spread(plain)
        assert spread(ours) > 0.02


def test_gradients_reach_the_first_layer() -> None:
    torch.manual_seed(0)
    head = MetricNet(32, (16, 16, 16, 8))
    head(torch.randn(8, 32)).square().sum().backward()
    assert next(head.parameters()).grad.abs().max() > 1e-4


@pytest.mark.parametrize("shape", [(2, 8), (9,), (2, 9, 1)])
def test_wrong_features(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        MetricNet(9)(torch.zeros(shape))
    assert str(error.value) == f"expected features of shape (n, 9), got {shape}"


def test_dropout_in_training_only() -> None:
    torch.manual_seed(0)
    head = MetricNet(9, (400, 5), "relu", dropout=0.25)
    hidden = []
    head.layers[2].register_forward_hook(lambda _, inputs, output: hidden.append((inputs[0], output)))
    x = torch.randn(50, 9)
    assert not torch.equal(head(x), head(x))
    before, after = hidden[0]
    dropped = (after == 0)[before > 0]
    assert 0.23 < dropped.float().mean() < 0.27
    torch.testing.assert_close(after[after > 0], before[after > 0] / 0.75)
    assert torch.equal(head.eval()(x), head(x))
