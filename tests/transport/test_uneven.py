"""Uneven marginals, any total mass and masks without room, against multi-precision and against maximum flows."""

from __future__ import annotations

import time
import warnings

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from batchot.transport import SinkhornWarning, sinkhorn

LAMS = st.sampled_from([1.0, 10.0, 39.0, 41.0, 300.0, 10_000.0])


def problem(
    n: int, m: int, seed: int, cost: str, mass: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A cost and marginals of total 1 that do not fit its groups of points."""
    draw = np.random.default_rng(seed)
    C = draw.random((n, m))
    if cost == "groups":  # which hardly exchange mass
        C = np.where(np.arange(n)[:, None] % 3 == np.arange(m) % 3, 0.1 * C, 0.9 + 0.1 * C)
    marginals = []
    for size in (n, m):
        a = {
            "near": 1 + 1e-3 * draw.standard_normal(size),
            "dirichlet": draw.dirichlet(np.ones(size)),
            "tiny": 10.0 ** draw.uniform(-12, 0, size),
        }[mass]
        marginals.append(torch.tensor(a / a.sum()))
    return torch.tensor(C), *marginals


def in_multi_precision(C: torch.Tensor, lam: float, a: torch.Tensor, b: torch.Tensor) -> list[list[float]]:
    """T by Newton's method with halved steps on the semi-dual, raising lam, at 60 digits."""
    mp = mpmath.mp.clone()
    mp.dps = 60
    n, m = C.shape
    a_, b_ = ([mp.mpf(float(x)) for x in v] for v in (a, b))
    a_, b_ = [x / sum(a_) for x in a_], [x / sum(b_) for x in b_]

    def at(alpha, scale):
        T = [[mp.exp(alpha[i] - scale * float(C[i, j])) for j in range(m)] for i in range(n)]
        c = [sum(T[i][j] for i in range(n)) for j in range(m)]
        F = sum(b_[j] * mp.log(c[j]) for j in range(m)) - sum(a_[i] * alpha[i] for i in range(n))
        return F, [[T[i][j] * b_[j] / c[j] for j in range(m)] for i in range(n)]

    alpha, scale = [mp.mpf(0)] * n, min(lam, 1.0)
    while True:
        F, T = at(alpha, scale)
        for _ in range(300):
            g = [sum(T[i]) - a_[i] for i in range(n)]
            if sum(abs(x) for x in g) < mp.mpf(10) ** -30:
                break
            H = mp.matrix(n, n)
            for i in range(n):
                for k in range(n):
                    H[i, k] = (
                        (sum(T[i]) if i == k else 0) - sum(T[i][j] * T[k][j] / b_[j] for j in range(m)) + 1
                    )
            step = mp.lu_solve(H, mp.matrix(g))
            length = min(mp.mpf(1), 5 / max(abs(x) for x in step))
            while True:
                tried = [alpha[i] - length * step[i] for i in range(n)]
                new_F, new_T = at(tried, scale)
                if new_F <= F or length < mp.mpf(10) ** -40:
                    break
                length /= 2
            alpha, F, T = tried, new_F, new_T
        if scale >= lam:
            return [[float(t) for t in row] for row in T]
        following = min(lam, 2 * scale)
        alpha, scale = [x * (following / scale) for x in alpha], following


@given(
    st.integers(3, 4), st.integers(3, 4), st.integers(0, 2**31), LAMS,
    st.sampled_from(["any", "groups"]), st.sampled_from(["near", "dirichlet", "tiny"]),
)  # fmt: skip
@settings(max_examples=12, deadline=None)
def test_small_problems_equal_multi_precision(n, m, seed, lam, cost, mass) -> None:
    C, a, b = problem(n, m, seed, cost, mass)
    plan = sinkhorn(C, lam, a, b)
    assert plan.converged
    assert np.abs(plan.coupling.numpy() - np.array(in_multi_precision(C, lam, a, b))).max() <= 1e-6


def is_of_the_right_form(T: torch.Tensor, C: torch.Tensor, lam: float) -> bool:
    """Whether log T_ij + lam C_ij = alpha_i + beta_j where mass flows, in 30 digits."""
    mp = mpmath.mp.clone()
    mp.dps = 30
    n, m = T.shape
    alpha: dict[int, mpmath.mpf] = {}
    beta: dict[int, mpmath.mpf] = {}
    score = {
        (i, j): mp.log(float(T[i, j])) + mp.mpf(lam) * float(C[i, j])
        for i in range(n)
        for j in range(m)
        if T[i, j] > 1e-200
    }
    rows: dict[int, list[int]] = {i: [j for j in range(m) if (i, j) in score] for i in range(n)}
    columns: dict[int, list[int]] = {j: [i for i in range(n) if (i, j) in score] for j in range(m)}
    for root in range(n):  # potentials along a spanning forest
        if root in alpha:
            continue
        alpha[root] = mp.mpf(0)
        waiting = [("row", root)]
        while waiting:
            side, k = waiting.pop()
            for other in rows[k] if side == "row" else columns[k]:
                if side == "row" and other not in beta:
                    beta[other] = score[k, other] - alpha[k]
                    waiting.append(("column", other))
                elif side == "column" and other not in alpha:
                    alpha[other] = score[other, k] - beta[k]
                    waiting.append(("row", other))
    return all(abs(s - alpha[i] - beta[j]) < 1e-9 * max(1.0, lam) for (i, j), s in score.items())


@pytest.mark.parametrize(("n", "m"), [(20, 20), (100, 30), (100, 100)])
@pytest.mark.parametrize("lam", [40.0, 10_000.0])
@pytest.mark.parametrize("mass", ["near", "dirichlet", "tiny"])
def test_large_problems_are_optimal(n: int, m: int, lam: float, mass: str) -> None:
    C, a, b = problem(n, m, 0, "groups", mass)
    plan = sinkhorn(C, lam, a, b)
    assert plan.converged and plan.iterations < 400
    assert float((plan.coupling.sum(1) - a).abs().sum() + (plan.coupling.sum(0) - b).abs().sum()) <= 1e-6
    assert is_of_the_right_form(plan.coupling, C, lam)


@pytest.mark.parametrize("total", [1e-9, 0.3, 7.0, 1e6])
@pytest.mark.parametrize("lam", [0.0, 5.0, 1000.0])
def test_any_total_is_the_plan_of_total_1_times_it(total: float, lam: float) -> None:
    C, a, b = problem(6, 9, 1, "any", "dirichlet")
    one, scaled = sinkhorn(C, lam, a, b), sinkhorn(C, lam, total * a, total * b)
    assert scaled.converged and float(scaled.coupling.sum()) == pytest.approx(total, rel=1e-6)
    assert torch.allclose(scaled.coupling / total, one.coupling, atol=1e-9)


def test_the_tolerance_is_a_share_of_the_total() -> None:
    C, a, b = problem(6, 9, 1, "any", "dirichlet")
    with pytest.warns(SinkhornWarning):
        short = sinkhorn(C, 30.0, 1e-9 * a, 1e-9 * b, max_iterations=1)
    assert not short.converged  # although its error is far below 1e-6
    with pytest.raises(ValueError, match="same total"):
        sinkhorn(C, 5.0, 1e-9 * a, 3e-9 * b)
    # Totals that differ by the rounding of float32 are made equal.
    assert sinkhorn(C, 5.0, a, b * (1 + 5e-6)).converged


def room(a: torch.Tensor, b: torch.Tensor, allowed: torch.Tensor) -> float:
    """The largest mass that a plan on the allowed pairs can carry."""
    n, m = allowed.shape
    scale = 10**8
    capacity = np.zeros((n + m + 2, n + m + 2), np.int32)
    capacity[0, 1 : n + 1] = np.round(a.numpy() * scale)
    capacity[1 : n + 1, n + 1 : n + m + 1] = np.where(allowed.numpy(), 2 * scale, 0)
    capacity[n + 1 : n + m + 1, -1] = np.round(b.numpy() * scale)
    return maximum_flow(csr_matrix(capacity), 0, n + m + 1).flow_value / scale


@given(
    st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**31), st.sampled_from([0.0, 5.0, 300.0]),
    st.sampled_from([0.2, 0.5, 0.8]), st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_converges_where_there_is_a_plan_and_says_where_there_is_none(n, m, seed, lam, share, exists) -> None:
    draw = np.random.default_rng(seed)
    allowed = torch.tensor(draw.random((n, m)) < share)
    allowed[0, 0] = True
    some = (
        torch.tensor(draw.random((n, m)) * (draw.random((n, m)) < 0.5)) * allowed
    )  # some pairs are not needed
    some[0, 0] += 1e-3
    a, b = some.sum(1) / some.sum(), some.sum(0) / some.sum()
    if not exists:
        a, b = torch.full((n,), 1 / n, dtype=torch.float64), torch.full((m,), 1 / m, dtype=torch.float64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plan = sinkhorn(torch.tensor(draw.random((n, m))), lam, a, b, mask=~allowed)
    possible = room(a, b, allowed) > 1 - 1e-6
    assert plan.converged == possible
    assert bool(caught) != possible and all("leaves room for all but" in str(w.message) for w in caught)
    assert torch.isfinite(plan.coupling).all() and plan.iterations < 600


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_no_room_is_said_at_once() -> None:
    allowed = torch.ones(100, 100, dtype=torch.bool)
    allowed[:60, 40:] = False  # 60 rows reach 40 columns
    even = torch.full((100,), 0.01)
    start = time.process_time()
    with pytest.warns(SinkhornWarning, match=r"leaves room for all but 0\.2 of the mass"):
        sinkhorn(torch.rand(100, 100), 5.0, even, even, mask=~allowed, max_iterations=10_000)
    assert time.process_time() - start < 2.0


def test_default_marginals_are_those_of_the_uniform_plan() -> None:
    mask = torch.tensor([[False, True, True], [False, False, False]])
    plan = sinkhorn(torch.rand(2, 3), 5.0, mask=mask)
    assert plan.converged
    assert plan.a.tolist() == [0.25, 0.75] and plan.b.tolist() == [0.5, 0.25, 0.25]
    for n in (3, 7, 10, 64):  # to the bit what they are without a mask
        even = sinkhorn(torch.rand(n, n), 5.0, mask=torch.eye(n, dtype=torch.bool))
        assert torch.equal(even.a, torch.full((n,), 1 / n, dtype=torch.float64)) and torch.equal(
            even.a, even.b
        )
