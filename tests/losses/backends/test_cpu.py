"""The compiled stack against the general path, in the cases in which it takes different branches."""

from __future__ import annotations

import pytest
import torch

from batchot import CrossModalBatchOTLoss
from batchot.losses import BatchOTSettings, solve
from batchot.transport.sinkhorn import SinkhornWarning

CASES = [
    {},
    {"plan": "uniform"},
    {"plan": "uniform", "pos_margin": 0.3},
    {"lam": 0.0},
    {"lam": 40.0, "gamma": 10.0},
    {"gamma": 1.0, "pos_margin": 0.2, "margin": 1.6},
    {"normalize": False, "margin": 30.0, "gamma": 0.2},
    {
        "term_settings": {
            "shape/shape": BatchOTSettings(plan="uniform", margin=1.5),
            "photo/shape": BatchOTSettings(lam=20.0),
        }
    },
]


def data(sizes: dict[str, int]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: (
            torch.randn(n, 12, generator=generator, requires_grad=True),
            torch.randint(0, 6, (n,), generator=generator),
        )
        for name, n in sizes.items()
    }


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("sizes", [(2, 3, 1), (20, 30, 5), (64, 200, 40)], ids=str)
@pytest.mark.parametrize("four_terms", [False, True])
def test_equals_the_general_path(
    sizes: tuple[int, ...], options: dict, four_terms: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if four_terms and "term_settings" in options:
        options = {"term_settings": {"shape/shape'": BatchOTSettings(lam=20.0)}}
    batches = data(dict(zip(("sketch", "shape", "photo"), sizes, strict=True)))
    inputs = [x for x, _ in batches.values()]
    loss = CrossModalBatchOTLoss(
        {"sketch": 0.5, "shape": 1.0, "photo": 2.0}, 0.7, four_terms=four_terms, **options
    )
    used = []
    stacked = solve._stacked_losses
    monkeypatch.setattr(solve, "_stacked_losses", lambda *a: used.append(stacked(*a)) or used[-1])
    value = loss(batches)
    assert len(used) == 1 and used[0] is not None
    grads = torch.autograd.grad(value, inputs)
    double = {name: (x.double(), labels) for name, (x, labels) in batches.items()}
    expected = loss(double)
    assert len(used) == 1
    assert value.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)
    for got, wanted in zip(grads, torch.autograd.grad(expected, inputs), strict=True):
        assert (got - wanted).norm() <= 2e-4 * wanted.norm() + 1e-9


def test_terms_are_differentiable_one_by_one() -> None:
    batches = data({"sketch": 9, "shape": 7})
    inputs = [x for x, _ in batches.values()]
    single = CrossModalBatchOTLoss().terms(batches)
    double = CrossModalBatchOTLoss().terms({k: (x.double(), labels) for k, (x, labels) in batches.items()})
    for name, value in single.items():
        grads = torch.autograd.grad(value, inputs, retain_graph=True)
        wanted = torch.autograd.grad(double[name], inputs, retain_graph=True, allow_unused=True)
        for got, other in zip(grads, wanted, strict=True):
            assert torch.allclose(got, torch.zeros_like(got) if other is None else other, atol=1e-6)


def test_large_batches_take_a_call_a_term() -> None:
    batches = data({"sketch": 400, "shape": 300})
    inputs = [x for x, _ in batches.values()]
    value = CrossModalBatchOTLoss()(batches)
    expected = CrossModalBatchOTLoss()({k: (x.double(), labels) for k, (x, labels) in batches.items()})
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    for got, wanted in zip(
        torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        assert (got - wanted).norm() <= 2e-4 * wanted.norm()


def test_a_plan_that_cannot_be_had_is_left_to_the_general_solver() -> None:
    batches = data({"sketch": 9, "shape": 7})
    loss = CrossModalBatchOTLoss(lam=30.0, max_iterations=3)
    terms = loss.weights.terms({name: len(x) for name, (x, _) in batches.items()})
    assert solve._stacked_losses(terms, batches, [loss.settings] * 3) is None
    with pytest.warns(SinkhornWarning, match="stopped after 3 iterations"):
        assert torch.isfinite(loss(batches))


def test_labels_of_any_type() -> None:
    batches = data({"sketch": 12, "shape": 9})
    loss = CrossModalBatchOTLoss()
    expected = loss(batches).item()
    for change in (lambda k: k * 2**40 - 7, lambda k: k.double() + 0.5, lambda k: k.to(torch.uint8)):
        assert loss({name: (x, change(labels)) for name, (x, labels) in batches.items()}).item() == expected
    (x, lx), (y, ly) = batches.values()
    assert loss(x, lx.double(), y, ly).item() == expected


def test_only_what_is_asked_for_has_a_gradient_and_only_one() -> None:
    (x, lx), (y, ly) = data({"sketch": 6, "shape": 5}).values()
    y.requires_grad_(False)
    CrossModalBatchOTLoss()(x, lx, y, ly).backward()
    assert x.grad is not None and y.grad is None
    with torch.no_grad():
        assert not CrossModalBatchOTLoss()(x, lx, y, ly).requires_grad
    (grad,) = torch.autograd.grad(CrossModalBatchOTLoss()(x, lx, y, ly), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        grad.sum().backward()
