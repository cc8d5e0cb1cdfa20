from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import batchot
from batchot.losses import BatchOTSettings
from batchot.reporting.plan import (
    balanced_batch,
    draw_heat_map,
    draw_mass_histogram,
    draw_shares,
    heaviest_pairs,
    mass_shares,
    solve_batch,
)

CLASSES = [f"class {c}" for c in range(9)]


def embedded(n: int = 80, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    return torch.eye(classes, 5)[labels] + 0.5 * torch.randn(n, 5, generator=generator), labels


def test_batch_is_balanced_sorted_and_the_same_each_time() -> None:
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate((50, 3, 1, 40, 40))])
    items = balanced_batch(labels, size=32)
    assert items.tolist() == balanced_batch(labels, size=32).tolist()
    assert len(set(items.tolist())) == len(items) <= 32
    y = labels[items]
    assert y.tolist() == sorted(y.tolist())
    # eight of each of four classes, as the class of one has no positive pair; three where there are no more
    assert torch.bincount(y).tolist() == [8, 3, 0, 8, 8]


def test_many_classes_have_four_items_each() -> None:
    items = balanced_batch(torch.arange(400) % 40, size=64)
    assert (torch.arange(400) % 40)[items].bincount().unique().tolist() == [0, 4]


@pytest.mark.parametrize("lam", [1.0, 5.0, 20.0])
def test_plan_is_that_of_sinkhorn_on_the_same_cost(lam: float) -> None:
    x, labels = embedded()
    settings = BatchOTSettings(lam=lam, gamma=4.0)
    plan = solve_batch(x, labels, settings, size=40)
    assert plan is not None
    z = torch.nn.functional.normalize(x[plan.items])
    M, D = batchot.ground_distance(z, labels[plan.items], gamma=4.0)
    diagonal = torch.eye(len(z), dtype=torch.bool)
    torch.testing.assert_close(plan.M, M)
    torch.testing.assert_close(plan.D, D)
    expected = batchot.sinkhorn(D, lam, mask=diagonal)
    torch.testing.assert_close(plan.T, expected.coupling)
    assert plan.effective_pairs == pytest.approx(float(expected.effective_pairs), rel=1e-5)

    picture = draw_heat_map(plan, "T", CLASSES).axes[0].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(picture)).tolist() == diagonal.tolist()
    n = len(z)
    relative = n * (n - 1) * expected.coupling.double()
    off = ~diagonal
    shown = torch.from_numpy(np.asarray(picture))[off]
    torch.testing.assert_close(shown, relative[off].clamp(min=1 / 32).log2(), atol=1e-4, rtol=1e-4)
    for what, values in (("M", M), ("D", D)):
        image = torch.from_numpy(np.asarray(draw_heat_map(plan, what, CLASSES).axes[0].images[0].get_array()))
        torch.testing.assert_close(image[off], values.double()[off])


def test_uniform_plan_is_one_everywhere() -> None:
    x, labels = embedded()
    plan = solve_batch(x, labels, BatchOTSettings(plan="uniform"), size=20)
    assert plan is not None
    off = ~torch.eye(20, dtype=torch.bool)
    assert plan.relative[off].tolist() == pytest.approx([1.0] * (20 * 19))
    assert plan.effective_pairs == pytest.approx(20 * 19, rel=1e-5)
    assert [pairs for _, pairs, _ in mass_shares(plan)] == pytest.approx([m for *_, m in mass_shares(plan)])


def test_shares_and_histogram_add_up() -> None:
    x, labels = embedded()
    plan = solve_batch(x, labels, BatchOTSettings(lam=10.0), size=40)
    assert plan is not None
    shares = mass_shares(plan)
    assert sum(pairs for _, pairs, _ in shares) == pytest.approx(1.0)
    assert sum(mass for *_, mass in shares) == pytest.approx(1.0)
    report = batchot.plan_report(x[plan.items], labels[plan.items], settings=BatchOTSettings(lam=10.0))
    assert shares[0][2] == pytest.approx(report.positive_mass, abs=1e-6)
    assert shares[0][2] + shares[1][2] == pytest.approx(report.violated_mass, abs=1e-6)
    bars = draw_mass_histogram(plan).axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(100.0, rel=1e-4)
    widths = [bar.get_width() for bar in draw_shares(plan).axes[0].patches]
    assert widths[:3] == pytest.approx([100 * pairs for _, pairs, _ in shares])
    assert widths[3:] == pytest.approx([100 * mass for *_, mass in shares])


def test_heaviest_pairs_equal_a_naive_loop() -> None:
    x, labels = embedded(30, 3)
    plan = solve_batch(x, labels, BatchOTSettings(lam=8.0), size=20)
    assert plan is not None
    T = plan.T.tolist()
    b = len(T)
    naive = sorted(
        ((i, j) for i in range(b) for j in range(i + 1, b)), key=lambda p: -T[p[0]][p[1]] - T[p[1]][p[0]]
    )
    assert heaviest_pairs(plan, 10) == naive[:10]
    assert len(heaviest_pairs(plan, 10_000)) == b * (b - 1) // 2


def test_too_few_items_have_no_plan() -> None:
    assert solve_batch(torch.eye(1), torch.tensor([0]), BatchOTSettings()) is None


def test_pair_of_items_has_all_the_mass_on_it() -> None:
    plan = solve_batch(torch.eye(2), torch.tensor([0, 1]), BatchOTSettings())
    assert plan is not None
    assert plan.T.flatten().tolist() == pytest.approx([0.0, 0.5, 0.5, 0.0])
    assert not math.isnan(plan.effective_pairs)
    assert draw_mass_histogram(plan).axes
