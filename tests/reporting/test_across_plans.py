from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import batchot
from batchot.losses import BatchOTSettings
from batchot.reporting.across import paired_items
from batchot.reporting.plan import draw_heat_map, heaviest_pairs, mass_shares, solve_items


@given(
    asked=st.lists(st.integers(0, 8), min_size=1, max_size=60),
    sought=st.lists(st.integers(0, 8), min_size=1, max_size=60),
    size=st.integers(4, 40),
)
def test_both_halves_of_the_batch_have_the_same_classes(
    asked: list[int], sought: list[int], size: int
) -> None:
    y, z = torch.tensor(asked), torch.tensor(sought)
    rows, columns = paired_items(y, z, size=size)
    assert max(len(rows), len(columns)) <= size
    assert set(y[rows].tolist()) == set(z[columns].tolist()) <= set(asked) & set(sought)
    for labels, items in ((y, rows), (z, columns)):
        assert labels[items].tolist() == sorted(labels[items].tolist())
        assert len(set(items.tolist())) == len(items)
    assert bool(set(asked) & set(sought)) == bool(len(rows))


@pytest.mark.parametrize("normalize", [True, False])
def test_the_plan_across_is_that_of_the_loss(normalize: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 6, generator=generator), torch.arange(40) % 4
    gallery, z = torch.randn(30, 6, generator=generator), torch.arange(30) % 6
    settings = BatchOTSettings(lam=8.0, gamma=4.0, normalize=normalize)
    rows, columns = paired_items(y, z, size=16)
    plan = solve_items((x, y, rows), (gallery, z, columns), settings)
    expected = batchot.plan_report(
        x[rows], y[rows], ref_emb=gallery[columns], ref_labels=z[columns], settings=settings
    )
    assert plan.effective_pairs == pytest.approx(expected.effective_pairs, rel=1e-5)
    shares = mass_shares(plan)
    assert shares[0][2] == pytest.approx(expected.positive_mass, abs=1e-6)
    assert shares[0][2] + shares[1][2] == pytest.approx(expected.violated_mass, abs=1e-6)
    assert sum(pairs for _, pairs, _ in shares) == pytest.approx(1)
    loss = batchot.batch_ot_loss(
        x[rows],
        y[rows],
        ref_emb=gallery[columns],
        ref_labels=z[columns],
        lam=8.0,
        gamma=4.0,
        normalize=normalize,
    )
    assert float((plan.T * plan.M).sum()) / 2 == pytest.approx(float(loss), rel=1e-5)
    assert plan.n_pairs == len(rows) * len(columns)
    assert not bool(plan.relative.isnan().any())
    picture = np.asarray(draw_heat_map(plan, "M", [str(c) for c in range(6)]).axes[0].images[0].get_array())
    assert picture == pytest.approx(plan.M.double().numpy())


def test_heaviest_pairs_across_equal_a_naive_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(6, 3, generator=generator), torch.tensor([0, 0, 1, 1, 2, 2])
    z = torch.tensor([0, 1, 1, 2])
    gallery = torch.randn(4, 3, generator=generator)
    plan = solve_items((x, y, torch.arange(6)), (gallery, z, torch.arange(4)), BatchOTSettings(lam=9.0))
    T = plan.T.tolist()
    naive = sorted(((i, j) for i in range(6) for j in range(4)), key=lambda p: -T[p[0]][p[1]])
    assert heaviest_pairs(plan, 7) == naive[:7]
    assert len(heaviest_pairs(plan, 1000)) == 24
