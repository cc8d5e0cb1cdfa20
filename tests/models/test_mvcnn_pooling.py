"""View pooling: formulas, order of the views, gradients, errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batchot.models import ViewPooling
from batchot.models.mvcnn import GatedAttention


def naive_attention(attention: GatedAttention, views: list[list[float]]) -> list[float]:
    V, c = attention.value.weight.tolist(), attention.value.bias.tolist()
    U, d = attention.gate.weight.tolist(), attention.gate.bias.tolist()
    w = attention.score.weight[0].tolist()
    scores = []
    for h in views:
        score = 0.0
        for i in range(len(w)):
            value = math.tanh(sum(a * b for a, b in zip(V[i], h, strict=True)) + c[i])
            gate = 1 / (1 + math.exp(-sum(a * b for a, b in zip(U[i], h, strict=True)) - d[i]))
            score += w[i] * value * gate
        scores.append(score)
    total = sum(math.exp(s) for s in scores)
    return [
        sum(math.exp(s) / total * h[f] for s, h in zip(scores, views, strict=True)) for f in range(len(h))
    ]


@pytest.mark.parametrize("v", [1, 2, 7])
def test_against_loops(v: int) -> None:
    torch.manual_seed(v)
    x = torch.randn(3, v, 5)
    shapes = x.tolist()
    highest = [[max(h[f] for h in views) for f in range(5)] for views in shapes]
    mean = [[sum(h[f] for h in views) / v for f in range(5)] for views in shapes]
    torch.testing.assert_close(ViewPooling("max", 5)(x), torch.tensor(highest))
    torch.testing.assert_close(ViewPooling("mean", 5)(x), torch.tensor(mean))
    pooling = ViewPooling("attention", 5)
    weighted = [naive_attention(pooling.attention, views) for views in shapes]
    torch.testing.assert_close(pooling(x), torch.tensor(weighted))
    joined = [[c for h in views for c in h] for views in shapes]
    assert torch.equal(ViewPooling("concat", 5, n_views=v)(x), torch.tensor(joined))


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(6)), seed=st.integers(0, 2**31))
@pytest.mark.parametrize("pooling", ["max", "mean", "attention"])
def test_order_of_the_views_does_not_matter(pooling, order: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    network = ViewPooling(pooling, 4).double()
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(
        network(x[:, order]), network(x), rtol=0, atol=1e-13
    )  # nothing falls to float32
    if pooling == "attention":
        torch.testing.assert_close(
            network.attention(x[:, order]), network.attention(x)[:, order], rtol=0, atol=1e-13
        )


def test_concat_knows_the_order() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 4)
    pooling = ViewPooling("concat", 4, n_views=6)
    assert pooling.out_features == 24
    assert not torch.allclose(pooling(x), pooling(x.flip(1)))


@pytest.mark.parametrize("pooling", ["mean", "attention", "concat"])
def test_gradient_reaches_every_view(pooling) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, 4, requires_grad=True)
    ViewPooling(pooling, 4, n_views=6)(x).square().sum().backward()
    assert (x.grad.abs().amax(2) > 0).all()


def test_gradient_of_max_reaches_the_highest_only() -> None:
    x = torch.tensor([[[1.0, 5.0], [2.0, 4.0]]], requires_grad=True)
    ViewPooling("max", 2)(x).sum().backward()
    assert x.grad.tolist() == [[[0, 1], [1, 0]]]


def test_attention_learns_which_view_matters() -> None:
    torch.manual_seed(0)
    pooling = ViewPooling("attention", 3)
    marked = torch.zeros(64, 4, 3)
    marked[:, :, 1:] = torch.randn(64, 4, 2)
    which = torch.randint(0, 4, (64,))
    marked[torch.arange(64), which, 0] = 1.0
    wanted = marked[torch.arange(64), which]
    optimiser = torch.optim.Adam(pooling.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        (pooling(marked) - wanted).square().mean().backward()
        optimiser.step()
    weights = pooling.attention(marked)[torch.arange(64), which]
    assert weights.mean() > 0.8


@pytest.mark.parametrize("shape", [(2, 0, 4), (2, 6, 5), (2, 4), (2, 3, 6, 4)])
def test_wrong_features(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one view") as error:
        ViewPooling("max", 4)(torch.zeros(shape))
    assert str(error.value).endswith(f"got {shape}")


def test_wrong_number_of_views() -> None:
    with pytest.raises(ValueError, match=r"\(b, 6, 4\) .* got \(2, 5, 4\)"):
        ViewPooling("concat", 4, n_views=6)(torch.zeros(2, 5, 4))
