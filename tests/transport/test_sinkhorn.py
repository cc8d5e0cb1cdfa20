from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from batchot.transport import Plan, SinkhornWarning, sinkhorn
from oracles import batch_ot as naive


def random_cost(n: int, m: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


problems = st.builds(random_cost, st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31 - 1))
lams = st.sampled_from([0.0, 0.01, 0.5, 3.0, 10.0, 39.0, 41.0, 200.0, 3000.0, 10_000.0])


@given(problems, lams)
@settings(max_examples=60, deadline=None)
def test_plan_is_a_coupling_with_the_marginals_asked_for(cost: torch.Tensor, lam: float) -> None:
    plan = sinkhorn(cost, lam)
    T = plan.coupling
    assert torch.isfinite(T).all() and (T >= 0).all()
    assert plan.converged
    assert (T.sum(1) - 1 / cost.shape[0]).abs().sum() <= 1e-6
    assert (T.sum(0) - 1 / cost.shape[1]).abs().sum() <= 1e-6


@given(problems, lams, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_permuting_points_permutes_the_plan(cost: torch.Tensor, lam: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(cost.shape[0], generator=generator)
    columns = torch.randperm(cost.shape[1], generator=generator)
    T = sinkhorn(cost, lam, tolerance=1e-10).coupling
    permuted = sinkhorn(cost[rows][:, columns], lam, tolerance=1e-10).coupling
    assert torch.allclose(permuted, T[rows][:, columns], atol=1e-5 if lam > 100 else 1e-8)


@given(problems)
@settings(max_examples=30, deadline=None)
def test_transport_cost_falls_as_lam_grows(cost: torch.Tensor) -> None:
    costs = [
        float(sinkhorn(cost, lam, tolerance=1e-9).transport_cost(cost)) for lam in (0, 0.1, 1, 10, 100, 1000)
    ]
    assert all(later <= earlier + 1e-7 for earlier, later in itertools.pairwise(costs))


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 9), (9, 4), (1, 3)])
@pytest.mark.parametrize("lam", [0.01, 1.0, 5.0, 20.0])
def test_equals_naive_loops(n: int, m: int, lam: float) -> None:
    cost = random_cost(n, m)
    expected = torch.tensor(naive.transport(cost.tolist(), lam), dtype=torch.float64)
    got = sinkhorn(cost, lam, tolerance=1e-12).coupling
    assert torch.allclose(got, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("n", "m"), [(64, 64), (64, 40), (128, 128)])
@pytest.mark.parametrize("lam", [1.0, 5.0, 20.0, 60.0])
def test_equals_pot(n: int, m: int, lam: float) -> None:
    cost = random_cost(n, m, 1)
    expected = ot.sinkhorn([], [], cost.numpy(), 1.0 / lam, numItermax=100_000, stopThr=1e-13)
    got = sinkhorn(cost.float(), lam).coupling.double().numpy()
    assert np.abs(got - expected).max() <= 1e-5
    assert np.abs(got - expected).sum() <= 1e-5 * max(1.0, lam)  # relative to a total mass of 1


def test_unequal_marginals_equal_pot() -> None:
    cost = random_cost(7, 5, 2)
    a, b = torch.arange(1, 8).double() / 28, torch.tensor([0.1, 0.4, 0.0, 0.2, 0.3], dtype=torch.float64)
    expected = ot.sinkhorn(a.numpy(), b.numpy(), cost.numpy(), 0.1, numItermax=100_000, stopThr=1e-13)
    got = sinkhorn(cost, 10.0, a, b, tolerance=1e-11).coupling.numpy()
    assert np.allclose(got, expected, atol=1e-10)
    for lam in (10.0, 1000.0):
        assert sinkhorn(cost, lam, a, b).coupling[:, 2].abs().max() == 0


def test_lam_to_zero_is_uniform_and_zero_exactly_so() -> None:
    cost = random_cost(8, 5)
    assert torch.allclose(
        40 * sinkhorn(cost, 1e-6).coupling, torch.ones(8, 5, dtype=torch.float64), atol=1e-5
    )
    assert torch.equal(sinkhorn(cost, 0.0).coupling, torch.full((8, 5), 1 / 8 * 1 / 5, dtype=torch.float64))


@pytest.mark.parametrize("n", [2, 16, 64])
def test_large_lam_reaches_the_assignment(n: int) -> None:
    cost = random_cost(n, n, 5)
    rows, columns = linear_sum_assignment(cost.numpy())
    best = float(cost[rows, columns].mean())
    plan = sinkhorn(cost, 10_000.0)
    assert plan.converged
    # The entropic optimum is within log(n^2) / lam of the unregularised one.
    assert best - 1e-6 <= float(plan.transport_cost(cost)) <= best + math.log(n * n) / 10_000.0 + 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_and_autocast(dtype: torch.dtype) -> None:
    cost = random_cost(16, 16).to(dtype)
    expected = sinkhorn(cost.double(), 5.0).coupling
    with torch.autocast("cpu", torch.bfloat16):
        plan = sinkhorn(cost, 5.0)
    assert plan.coupling.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(plan.coupling.double(), expected, atol=1e-8)


@pytest.mark.parametrize("lam", [0.0, 5.0, 10_000.0])
def test_duplicates_and_constant_costs(lam: float) -> None:
    assert torch.allclose(sinkhorn(torch.zeros(4, 4), lam).coupling, torch.full((4, 4), 1 / 16))
    cost = random_cost(3, 3).repeat_interleave(2, 0).repeat_interleave(2, 1)
    T = sinkhorn(cost, lam, tolerance=1e-9).coupling
    assert torch.allclose(T[0::2], T[1::2], atol=1e-6) and torch.allclose(T[:, 0::2], T[:, 1::2], atol=1e-6)


@pytest.mark.parametrize("lam", [0.0, 5.0, 500.0, 10_000.0])
def test_masked_diagonal(lam: float) -> None:
    cost = random_cost(10, 10)
    cost = (cost + cost.T) / 2
    plan = sinkhorn(cost, lam, mask=torch.eye(10, dtype=torch.bool), tolerance=1e-8)
    assert plan.converged
    assert plan.coupling.diagonal().abs().max() == 0
    assert torch.allclose(plan.coupling, plan.coupling.T, atol=1e-5)
    if lam == 5.0:
        expected = torch.tensor(naive.transport(cost.tolist(), 5.0, diagonal=False), dtype=torch.float64)
        assert torch.allclose(plan.coupling, expected, atol=1e-9)


def test_rows_without_an_allowed_pair_take_no_part() -> None:
    mask = torch.zeros(4, 3, dtype=torch.bool)
    mask[1] = True
    plan = sinkhorn(random_cost(4, 3), 5.0, mask=mask)
    assert plan.converged
    assert plan.coupling[1].sum() == 0 and torch.allclose(plan.a, torch.tensor([1, 0, 1, 1]).double() / 3)
    assert sinkhorn(torch.rand(1, 1), 5.0, mask=torch.tensor([[True]])).coupling.item() == 0


@pytest.mark.parametrize("lam", [5.0, 1000.0])
def test_stack_equals_single_problems(lam: float) -> None:
    stack = torch.stack([random_cost(6, 9, seed) for seed in range(4)]).reshape(2, 2, 6, 9)
    plan = sinkhorn(stack, lam, tolerance=1e-10)
    assert plan.coupling.shape == stack.shape and plan.marginal_error.shape == (2, 2) and plan.converged
    for i in range(2):
        for j in range(2):
            single = sinkhorn(stack[i, j], lam, tolerance=1e-10)
            assert torch.allclose(plan.coupling[i, j], single.coupling, atol=1e-8)
            assert torch.allclose(plan.entropy[i, j], single.entropy, atol=1e-6)


def test_stops_when_the_marginals_are_right() -> None:
    cost = random_cost(32, 32)
    steps = [sinkhorn(cost, 10.0, tolerance=t).iterations for t in (1e-2, 1e-5, 1e-10)]
    assert steps[0] < steps[1] < steps[2]
    for tolerance in (1e-2, 1e-5, 1e-10):
        assert sinkhorn(cost, 10.0, tolerance=tolerance).marginal_error <= tolerance


@pytest.mark.parametrize("lam", [5.0, 5000.0])
def test_warns_when_out_of_steps_and_still_returns_a_plan(lam: float) -> None:
    with pytest.warns(SinkhornWarning, match=r"after 1 iterations .* max_iterations"):
        plan = sinkhorn(random_cost(8, 8), lam, max_iterations=1, tolerance=1e-9)
    assert not plan.converged and plan.marginal_error > 1e-9
    assert torch.isfinite(plan.coupling).all() and float(plan.coupling.sum()) == pytest.approx(1.0, abs=0.5)


def test_impossible_marginals_warn_and_stay_finite() -> None:
    mask = torch.tensor([[False, True], [False, True]])
    half = torch.full((2,), 0.5)
    with pytest.warns(SinkhornWarning, match="leaves room"):
        plan = sinkhorn(torch.rand(2, 2), 5.0, half, half, mask=mask)
    assert torch.isfinite(plan.coupling).all() and not plan.converged


def test_no_warning_when_converged() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for lam in (0, 1, 100, 10_000):
            sinkhorn(random_cost(20, 30), lam)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lam": -1.0}, r"lam must be between 0 and 10000, got -1\.0"),
        ({"lam": float("nan")}, "lam must be between"),
        ({"lam": 1e6}, "lam must be between"),
        ({"cost": torch.rand(3)}, r"\(n, m\).*got \(3,\)"),
        ({"cost": torch.ones(2, 2, dtype=torch.long)}, "floating point"),
        ({"cost": torch.ones(0, 2)}, r"cost is empty, shape \(0, 2\)"),
        ({"cost": torch.tensor([[0.0, float("nan")]])}, r"NaN or infinite at index \[0, 1\]"),
        ({"a": [1.0, 1.0]}, "a must be a tensor, got list"),
        ({"a": torch.ones(3)}, r"a must have shape \(2, 2\)|a must have shape \(2,\)"),
        ({"a": torch.tensor([-0.5, 1.5])}, "a must be finite and non-negative"),
        ({"a": torch.tensor([1.0, 1.0])}, "same total"),
        ({"mask": torch.zeros(2, 2)}, "bool"),
        ({"mask": torch.zeros(3, 2, dtype=torch.bool)}, r"mask must have the cost's shape \(2, 2\)"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
    ],
)
def test_errors_say_what_arrived(change: dict, message: str) -> None:
    arguments = {"cost": torch.rand(2, 2), "lam": 1.0} | change
    with pytest.raises(ValueError, match=message):
        sinkhorn(**arguments)


def test_plan_computes_nothing_that_is_not_asked_for() -> None:
    plan = sinkhorn(random_cost(4, 4), 5.0)
    assert isinstance(plan, Plan)
    assert "entropy" not in vars(plan) and "effective_pairs" not in vars(plan)
    T = plan.coupling
    assert float(plan.entropy) == pytest.approx(float(-(T * T.log()).sum()))
    assert float(plan.effective_pairs) == pytest.approx(math.exp(float(plan.entropy)))
    assert float(sinkhorn(random_cost(4, 6), 0.0).effective_pairs) == pytest.approx(24)
