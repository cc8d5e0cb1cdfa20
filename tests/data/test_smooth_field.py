"""Smooth fields have the statistics that they promise."""

from __future__ import annotations

import pytest
import torch

from batchot.data.augment.sketches import smooth_field


@pytest.mark.parametrize("h, w, cells", [(32, 32, 4), (20, 48, 4), (64, 64, 20), (8, 8, 20)])
def test_mean_and_variance_are_those_of_a_standard_normal_at_every_pixel(h: int, w: int, cells: int) -> None:
    field = smooth_field(3000, 2, h, w, cells, torch.Generator().manual_seed(0))
    assert field.shape == (3000, 2, h, w)
    assert float(field.mean(0).abs().max()) < 0.1
    assert float((field.std(0) - 1).abs().max()) < 0.08


def test_neighbours_are_alike_and_places_cells_apart_are_not() -> None:
    field = smooth_field(4000, 1, 80, 80, 4, torch.Generator().manual_seed(1))[:, 0]
    middle = field[:, 40, 40]
    alike = {far: float((middle * field[:, 40, 40 + far]).mean()) for far in (1, 10, 20, 39)}
    assert alike[1] > 0.95 and alike[1] > alike[10] > alike[20] > alike[39]
    assert alike[20] < 0.7 and abs(alike[39]) < 0.25
    across = smooth_field(4000, 2, 8, 8, 4, torch.Generator().manual_seed(2))
    assert abs(float((across[:, 0] * across[:, 1]).mean())) < 0.05  # both directions are independent
