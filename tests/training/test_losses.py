from __future__ import annotations

from typing import get_args

import pytest
import torch

from batchot.losses import BatchOTLoss
from batchot.training.losses import make_loss, normalizes
from batchot.training.recipe import LOSSES, LossName, LossSettings, RecipeError


def test_table_has_every_name_that_a_recipe_may_use() -> None:
    assert tuple(LOSSES) == get_args(LossName)


@pytest.mark.parametrize("name", get_args(LossName))
def test_gradient_step_lowers_every_loss(name: LossName) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 8, generator=generator, requires_grad=True)
    labels = torch.arange(12).repeat(2) % 4
    loss = make_loss(LossSettings(name=name), n_classes=4, embedding_dim=8)
    before = loss(x, labels)
    assert before.ndim == 0
    before.backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    with torch.no_grad():
        assert loss(x - 1e-2 * x.grad, labels) < before


def test_uniform_is_the_transport_loss_with_the_uniform_plan() -> None:
    x, labels = torch.randn(10, 4, generator=torch.Generator().manual_seed(1)), torch.arange(10) % 2
    uniform = make_loss(LossSettings(name="uniform"), 2, 4)
    assert torch.equal(uniform(x, labels), BatchOTLoss(plan="uniform")(x, labels))


def test_proxies_are_parameters() -> None:
    loss = make_loss(LossSettings(name="proxy-anchor"), n_classes=5, embedding_dim=8)
    assert [tuple(p.shape) for p in loss.parameters()] == [(5, 8)]


def test_options_reach_the_library_and_unknown_ones_are_refused() -> None:
    assert make_loss(LossSettings(name="contrastive", options={"neg_margin": 0.4}), 2, 4).neg_margin == 0.4
    with pytest.raises(RecipeError, match=r"unknown option 'neg_margn'.*did you mean neg_margin\?"):
        make_loss(LossSettings(name="contrastive", options={"neg_margn": 0.4}), 2, 4)
    with pytest.raises(RecipeError, match="Allowed: none"):
        make_loss(LossSettings(name="npairs", options={"margin": 1.0}), 2, 4)
    with pytest.raises(RecipeError, match="unknown option 'num_classes'"):  # ours to give
        make_loss(LossSettings(name="proxy-anchor", options={"num_classes": 3.0}), 2, 4)


@pytest.mark.parametrize("name", get_args(LossName))
def test_normalised_losses_do_not_see_the_length_of_embeddings(name: LossName) -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(12, 6), torch.arange(12) % 3
    loss = make_loss(LossSettings(name=name), 3, 6)
    same = torch.allclose(loss(x, labels), loss(3 * x, labels), atol=1e-5)
    assert same == normalizes(loss)


def test_raw_distances_are_not_called_normalised() -> None:
    assert not normalizes(make_loss(LossSettings(normalize=False), 2, 4))
