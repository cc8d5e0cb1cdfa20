from __future__ import annotations

import pytest
import torch

from batchot.transport import ground_distance, misplacement, pair_distances
from oracles import batch_ot as naive


@pytest.mark.parametrize("distance_power", [1, 2])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("pos_margin", [0.0, 0.3])
def test_equals_naive_loops(batch, distance_power: int, power: int, pos_margin: float) -> None:
    x, labels = batch
    M, D = ground_distance(
        x.double(),
        labels,
        x[:9].double(),
        labels[:9],
        margin=4.0,
        pos_margin=pos_margin,
        gamma=0.7,
        distance_power=distance_power,
        power=power,
    )
    expected = naive.misplacements(
        x.double().tolist(), labels.tolist(), x[:9].double().tolist(), labels[:9].tolist(), 4.0, pos_margin,
        distance_power, power,
    )  # fmt: skip
    assert torch.allclose(M, torch.tensor(expected, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(D, torch.exp(-0.7 * M)) and (D >= 0).all() and (D <= 1).all()


def test_distances_far_from_the_origin_keep_their_precision() -> None:
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    far = (x.double() + 1000.0).float()
    exact = torch.cdist(far.double(), far.double()) ** 2
    assert (pair_distances(far) - exact).abs().max() < 1e-4


def test_distance_of_coinciding_rows_has_a_finite_derivative() -> None:
    x = torch.zeros(3, 2, requires_grad=True)
    d = pair_distances(x, power=1)
    d.sum().backward()
    assert d.abs().max() == 0 and torch.equal(x.grad, torch.zeros(3, 2))


def test_half_precision_is_computed_in_float32() -> None:
    x = torch.randn(8, 16).half()
    assert pair_distances(x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pair_distances(x.float()), pair_distances(x))


def test_misplacement_of_easy_pairs_is_zero() -> None:
    d = torch.tensor([[0.0, 2.0]])
    assert misplacement(d, torch.tensor([[True, False]])).tolist() == [[0.0, 0.0]]
