from __future__ import annotations

import pytest
import torch

from batchot.transport import sinkhorn


@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 5), (5, 3), (1, 4)])
@pytest.mark.parametrize("lam", [0.5, 5.0, 60.0])
def test_derivative_of_the_plan_by_finite_differences(n: int, m: int, lam: float) -> None:
    generator = torch.Generator().manual_seed(n * 10 + m)
    cost = torch.rand(n, m, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.randn(n, m, dtype=torch.float64, generator=generator)

    def f(c: torch.Tensor) -> torch.Tensor:
        return (weights * sinkhorn(c, lam, tolerance=1e-13, max_iterations=20_000).coupling).sum()

    assert torch.autograd.gradcheck(f, (cost,), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_with_a_mask_and_a_stack() -> None:
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(2, 4, 4, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.randn(2, 4, 4, dtype=torch.float64, generator=generator)
    mask = torch.eye(4, dtype=torch.bool)

    def f(c: torch.Tensor) -> torch.Tensor:
        return (weights * sinkhorn(c, 5.0, mask=mask, tolerance=1e-13, max_iterations=20_000).coupling).sum()

    assert torch.autograd.gradcheck(f, (cost,), eps=1e-6, atol=1e-6, rtol=1e-4)
    (grad,) = torch.autograd.grad(f(cost), cost)
    assert grad.diagonal(dim1=1, dim2=2).abs().max() == 0


def test_equals_the_unrolled_iteration() -> None:
    cost = torch.rand(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    K = torch.exp(-5.0 * cost)
    v = torch.ones(5, dtype=torch.float64)
    for _ in range(300):
        u = (1 / 6) / (K @ v)
        v = (1 / 5) / (K.T @ u)
    unrolled = u[:, None] * K * v
    ours = sinkhorn(cost, 5.0, tolerance=1e-13).coupling
    weights = torch.linspace(-1, 1, 30, dtype=torch.float64).reshape(6, 5)
    expected = torch.autograd.grad((weights * unrolled).sum(), cost)[0]
    got = torch.autograd.grad((weights * ours).sum(), cost)[0]
    assert torch.allclose(got, expected, atol=1e-10)


def test_no_graph_is_made_where_none_is_needed() -> None:
    cost = torch.rand(3, 3, requires_grad=True)
    with torch.no_grad():
        assert not sinkhorn(cost, 1.0).coupling.requires_grad
    assert not sinkhorn(cost.detach(), 1.0).coupling.requires_grad
