"""Widths and gaps of strokes against loops and SciPy's morphology."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import generate_binary_structure, grey_dilation, grey_erosion
from torch import Tensor

from batchot.data.augment.strokes import LIGHTEST, break_strokes, widen_strokes

CROSS = generate_binary_structure(2, 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_ink(n: int = 6, h: int = 13, w: int = 17) -> Tensor:
    return torch.rand(n, 1, h, w, generator=generator(3)) * (
        torch.rand(n, 1, h, w, generator=generator(4)) < 0.4
    )


@pytest.mark.parametrize("by", [0.0, 0.5, 2.0, 3.0, 4.0, -0.7, -2.0, -5.0])
def test_widening_interpolates_between_dilations(by: float) -> None:
    ink = random_ink()
    got = widen_strokes(ink, torch.full((6,), by))
    change = grey_dilation if by > 0 else grey_erosion
    for before, after in zip(ink[:, 0].numpy(), got[:, 0], strict=True):
        steps = [before]
        for _ in range(4):
            steps.append(change(steps[-1], footprint=CROSS))
        whole, part = divmod(abs(by) / 2, 1)
        expected = (1 - part) * steps[int(whole)] + part * steps[int(whole) + 1]
        expected = torch.from_numpy(expected).maximum(LIGHTEST * torch.from_numpy(before))
        torch.testing.assert_close(after, expected, atol=1e-6, rtol=0)


@given(st.lists(st.floats(-6, 6), min_size=6, max_size=6))
def test_each_drawing_has_its_own_width(by: list[float]) -> None:
    ink = random_ink()
    together = widen_strokes(ink, torch.tensor(by))
    alone = torch.cat([widen_strokes(ink[k : k + 1], torch.tensor([by[k]])) for k in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    grown = torch.tensor(by) >= 0
    assert bool((together[grown] >= ink[grown] - 1e-6).all())
    assert bool((together[~grown] <= ink[~grown] + 1e-6).all())
    assert bool((together >= LIGHTEST * ink - 1e-6).all())


def test_holes_are_discs_around_ink() -> None:
    ink = torch.ones(500, 1, 30, 30)
    broken = break_strokes(ink, generator(), most=1, diameter=6.0)
    sizes = (broken == 0).sum((1, 2, 3))
    inside = sum(1 for y in range(-3, 4) for x in range(-3, 4) if x * x + y * y <= 9)
    assert int(sizes.max()) == inside and int(sizes.min()) == 0
    assert 0.4 < float((sizes > 0).float().mean()) < 0.6  # none or one, each as likely
    rows = (broken == 0).any(3).float().mean((0, 1))
    assert float(rows.min()) > 0  # holes are all over the sheet


def test_holes_go_where_the_ink_is() -> None:
    ink = torch.zeros(400, 1, 20, 20)
    ink[:, 0, 3, 2], ink[:, 0, 15, 11] = 3.0, 1.0
    broken = break_strokes(ink, generator(), most=1, diameter=1.0)
    dark, light = (broken[:, 0, 3, 2] == 0).sum().item(), (broken[:, 0, 15, 11] == 0).sum().item()
    assert 120 < dark < 180 and 30 < light < 70  # in the proportion of their ink
    assert torch.equal(ink[:, 0, 3, 2], torch.full((400,), 3.0))  # what was given is not painted over


def test_nothing_to_break() -> None:
    blank = torch.zeros(3, 1, 8, 8)
    assert torch.equal(break_strokes(blank, generator(), most=3, diameter=3.0), blank)
    full = torch.ones(3, 1, 8, 8)
    assert break_strokes(full, generator(), most=0, diameter=3.0) is full
