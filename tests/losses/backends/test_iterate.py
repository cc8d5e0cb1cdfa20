from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from batchot import BatchOTLoss, sinkhorn
from batchot.losses.backends.cpu import scale_at_once
from batchot.losses.backends.iterate import newton_plan


def half_and_half(n: int, m: int, lam: float, seed: int = 0) -> np.ndarray:
    """The kernel of a batch that was cut in two, where classes of one half are missing in the other."""
    random = np.random.default_rng(seed)
    agree = random.integers(0, 8, n)[:, None] == random.integers(0, 8, m)
    M = np.where(agree, random.random((n, m)), np.maximum(0.0, random.random((n, m)) - 0.6))
    return np.exp(-lam * np.exp(-10.0 * M))


@pytest.mark.parametrize(("n", "m"), [(15, 15), (30, 12), (9, 40)])
@pytest.mark.parametrize("lam", [5.0, 20.0])
def test_finds_the_plan_of_pot(n: int, m: int, lam: float) -> None:
    K = half_and_half(n, m, lam)
    T, error = newton_plan(K, 1 / n, 1 / m, 1e-12, 200)
    assert error <= 1e-12
    expected = ot.sinkhorn([], [], -np.log(K), 1.0, numItermax=100_000, stopThr=1e-13)
    assert np.abs(T - expected).max() * n * m < 1e-6


@pytest.mark.parametrize(("n", "m"), [(15, 15), (30, 12), (9, 40)])
def test_scales_what_the_float32_iteration_cannot(n: int, m: int) -> None:
    """Two groups that exchange 1e-7 of their reach: x_i meet y_j of their own group, but masses do not fit."""
    cost = np.full((n, m), 16.0)
    cost[: n // 3, : m // 2] = 0.0
    cost[n // 3 :, m // 2 :] = 0.0
    K = np.exp(-cost).astype(np.float32)
    u, v = np.empty(n, np.float32), np.empty(m, np.float32)
    assert scale_at_once(K, False, 1e-6, 1000, u, v) <= 1e-6
    T = u[:, None] * K * v
    assert np.abs(T.sum(1) - 1 / n).sum() + np.abs(T.sum(0) - 1 / m).sum() < 2e-6
    exact = sinkhorn(torch.from_numpy(cost), 1.0, tolerance=1e-12).coupling.numpy()
    assert np.abs(T - exact).max() * n * m < 1e-4


def test_gives_up_with_the_error_that_is_left_and_the_kernel_as_it_was() -> None:
    K = half_and_half(9, 7, 30.0).astype(np.float32)
    before = K.copy()
    assert scale_at_once(K, False, 1e-6, 2, np.empty(9, np.float32), np.empty(7, np.float32)) > 1e-6
    assert np.array_equal(K, before)


@pytest.mark.parametrize("seed", range(8))
def test_halves_of_a_batch_with_missing_classes(seed: int) -> None:
    """lam and gamma of the authors' sketch program: on some of these the accelerated float32 iteration overflows."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(8, 16, generator=generator)
    labels = torch.arange(30) % 8
    x = centres[labels] + 2.0 * torch.randn(30, 16, generator=generator)
    p, q = x[:15].requires_grad_(), x[15:].requires_grad_()
    loss = BatchOTLoss(gamma=10.0, lam=10.0)
    value = loss(p, labels[:15], None, q, labels[15:])
    exact = loss(p.double(), labels[:15], None, q.double(), labels[15:])
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    for got, wanted in zip(
        torch.autograd.grad(value, [p, q]), torch.autograd.grad(exact, [p, q]), strict=True
    ):
        assert (got - wanted).norm() <= 2e-4 * wanted.norm()
