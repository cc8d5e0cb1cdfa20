from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import nn

from batchot.training.losses import make_loss
from batchot.training.optimisers import lr_factor, make_optimiser, make_schedule, orthogonalise
from batchot.training.recipe import LossSettings, OptimSettings


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3)
    )


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_warm_up_rises_then_falls_to_the_final_share(schedule: Literal["one-cycle", "cosine"]) -> None:
    settings = OptimSettings(schedule=schedule, warmup=0.25, final=0.1)
    rates = [lr_factor(settings, s, steps_per_epoch=10, epochs=4) for s in range(41)]
    assert rates[10] == max(rates) == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[40] == pytest.approx(0.1)


def test_one_cycle_falls_on_a_line_and_cosine_on_a_cosine() -> None:
    line = OptimSettings(schedule="one-cycle", warmup=0.0)
    cosine = OptimSettings(schedule="cosine", warmup=0.0)
    assert lr_factor(line, 5, 20, 1) == pytest.approx(0.75)
    assert lr_factor(cosine, 5, 20, 1) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_exponential_falls_once_an_epoch_and_constant_never() -> None:
    exponential, constant = (
        OptimSettings(schedule="exponential", decay=0.95),
        OptimSettings(schedule="constant"),
    )
    assert [lr_factor(exponential, s, 3, 5) for s in (0, 2, 3, 6)] == pytest.approx([1, 1, 0.95, 0.95**2])
    assert lr_factor(constant, 7, 3, 5) == 1.0


def test_schedule_sets_the_rate_of_every_group() -> None:
    settings = OptimSettings(name="muon", lr=0.1, muon_lr=0.5, schedule="exponential", decay=0.5)
    optimiser = make_optimiser(settings, small_network(), make_loss(LossSettings(), 3, 3))
    schedule = make_schedule(settings, optimiser, steps_per_epoch=1, epochs=3)
    optimiser.step()
    schedule.step()
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.25, 0.05, 0.05])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_every_parameter_moves_and_only_matrices_decay(name: Literal["sgd", "adam", "adamw", "muon"]) -> None:
    network = small_network()
    loss = make_loss(LossSettings(name="proxy-anchor"), 3, 3)
    optimiser = make_optimiser(OptimSettings(name=name, weight_decay=0.1), network, loss)
    parameters = [*network.parameters(), *loss.parameters()]
    for group in optimiser.param_groups:
        network_matrices = [
            p for p in group["params"] if p.ndim > 1 and not any(p is q for q in loss.parameters())
        ]
        assert group["weight_decay"] == (0.1 if network_matrices else 0.0)
    assert sum(len(g["params"]) for g in optimiser.param_groups) == len(parameters)
    before = [p.detach().clone() for p in parameters]
    embeddings = network(torch.randn(6, 1, 8, 8))
    (loss(embeddings, torch.arange(6) % 3) + embeddings.sum()).backward()
    optimiser.step()
    for old, new in zip(before, parameters, strict=True):
        assert not torch.equal(old, new)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_orthogonalised_matrix_keeps_its_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalise(matrix) @ vt.T  # diagonal, about 1
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-3)
    assert bool(((inner.diagonal() > 0.6) & (inner.diagonal() < 1.3)).all())


def test_zero_gradient_leaves_a_kernel_alone_under_muon() -> None:
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_muon_goes_on_from_its_state() -> None:
    def steps(n: int, state: dict | None = None, network: nn.Module | None = None) -> tuple[nn.Module, dict]:
        network = network or small_network()
        optimiser = make_optimiser(OptimSettings(name="muon"), network, nn.Identity())
        if state is not None:
            optimiser.load_state_dict(state)
        x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        for _ in range(n):
            optimiser.zero_grad()
            network(x).square().sum().backward()
            optimiser.step()
        return network, optimiser.state_dict()

    whole, _ = steps(4)
    half, state = steps(2)
    resumed, _ = steps(2, state, half)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
