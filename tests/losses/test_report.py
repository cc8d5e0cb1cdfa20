from __future__ import annotations

import math

import pytest
import torch

from batchot import batch_ot_loss, plan_report
from batchot.losses import BatchOTSettings
from batchot.transport import ground_distance, sinkhorn


def test_report_equals_the_plan(batch) -> None:
    x, labels = batch
    settings = BatchOTSettings(lam=6.0, gamma=4.0)
    report = plan_report(x, labels, settings=settings)
    M, D = ground_distance(torch.nn.functional.normalize(x.double()), labels, gamma=4.0)
    off = ~torch.eye(24, dtype=torch.bool)
    T = sinkhorn(D, 6.0, mask=~off).coupling
    assert report.violated_mass == pytest.approx(float(T[(M > 0) & off].sum()), abs=1e-5)
    assert report.violated_pairs == pytest.approx(float((M > 0)[off].double().mean()), abs=1e-6)
    assert report.positive_mass == pytest.approx(float(T[labels[:, None] == labels].sum()), abs=1e-5)
    assert report.entropy == pytest.approx(float(-(T[off] * T[off].log()).sum()), abs=1e-5)
    assert report.effective_pairs == pytest.approx(math.exp(report.entropy))
    assert report.marginal_error <= 1e-6 and report.iterations > 1
    # The point of the method: violated pairs carry more than their share.
    assert report.violated_mass > report.violated_pairs


def test_report_of_the_uniform_plan(batch) -> None:
    x, labels = batch
    report = plan_report(x, labels, settings=BatchOTSettings(plan="uniform"))
    assert report.violated_mass == pytest.approx(report.violated_pairs, abs=1e-6)
    assert report.effective_pairs == pytest.approx(24 * 23, rel=1e-5)


def test_shares_equal_a_loop_over_pairs(batch) -> None:
    x, labels = batch
    report = plan_report(x, labels, settings=BatchOTSettings(lam=6.0, gamma=4.0), bins=10)
    unit = torch.nn.functional.normalize(x.double())
    _, D = ground_distance(unit, labels, gamma=4.0)
    n = len(x)
    T = sinkhorn(D, 6.0, mask=torch.eye(n, dtype=torch.bool)).coupling
    parts = {name: [0.0] * 10 for name in ("pp", "np", "pm", "nm")}
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            k = min(9, math.floor(float(D[i, j]) * 10))
            kind = "p" if labels[i] == labels[j] else "n"
            parts[kind + "p"][k] += 1 / (n * (n - 1))
            parts[kind + "m"][k] += float(T[i, j])
    found = report.histogram
    assert found.positive_pairs == pytest.approx(parts["pp"], abs=1e-6)
    assert found.negative_pairs == pytest.approx(parts["np"], abs=1e-6)
    assert found.positive_mass == pytest.approx(parts["pm"], abs=1e-5)
    assert found.negative_mass == pytest.approx(parts["nm"], abs=1e-5)
    assert sum(found.positive_mass) == pytest.approx(report.positive_mass, abs=1e-6)
    assert sum(found.positive_pairs) == pytest.approx(report.positive_pairs, abs=1e-6)


@pytest.mark.parametrize("how", [{}, {"distance_power": 1, "margin": 1.5}, {"power": 2, "pos_margin": 0.3}])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradient_of_a_pair_is_that_of_autograd(batch, how: dict[str, float], normalize: bool) -> None:
    """Two samples are one pair (in two orders): its share of the gradient is half of that on each of them."""
    x, labels = batch
    x = 0.4 * x.double()
    for i, j in ((0, 1), (2, 5), (3, 9)):
        pair, of = x[[i, j]], labels[[i, j]]
        unit = torch.nn.functional.normalize(pair) if normalize else pair
        unit = unit.clone().requires_grad_()
        settings = BatchOTSettings(normalize=normalize, **how)  # type: ignore[arg-type]
        loss = batch_ot_loss(unit, of, normalize=False, **{"margin": 1.0, **how})  # type: ignore[arg-type]
        norm = torch.autograd.grad(loss, unit)[0].norm(dim=1)
        report = plan_report(pair, of, settings=settings)
        assert report.gradient == pytest.approx(float(norm.mean()) / 2, abs=1e-9)
        assert report.allowed_pairs == 2


def test_no_gradient_with_a_distance_of_ones_own(batch) -> None:
    x, labels = batch
    assert plan_report(x, labels, distance=torch.cdist).gradient is None
