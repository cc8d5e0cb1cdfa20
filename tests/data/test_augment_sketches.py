"""Changes of drawings against what is known of turned, moved and bent pictures."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from batchot.data import Normalization, Preparation, SketchAugmentation
from batchot.data.augment.sketches import PIXELS_AT_ONCE

ALL = SketchAugmentation(
    flip=True,
    turn=8.0,
    shift=1.5,
    scale=0.08,
    stretch=0.15,
    elastic=1.0,
    tremor=0.15,
    thickness=0.4,
    gaps=4,
    gap_size=2.0,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sheets(n: int, h: int = 48, w: int = 48) -> Tensor:
    """White paper with a crooked L, which no turn or mirror maps to itself."""
    images = torch.full((n, 1, h, w), 255, dtype=torch.uint8)
    images[:, :, h // 4 : 3 * h // 4, w // 3 : w // 3 + 3] = 0
    images[:, :, 3 * h // 4 - 3 : 3 * h // 4, w // 3 : 2 * w // 3] = 0
    return images


def dots(n: int, h: int, w: int, row: float, column: float) -> Tensor:
    """One soft dot on each sheet, whose centre of mass is known to a hundredth of a pixel."""
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    ink = (-((y - row).square() + (x - column).square()) / 8).exp()
    return (255 * (1 - ink)).expand(n, 1, h, w)


def centres(images: Tensor) -> Tensor:
    """Column and row of the middle of the ink, from the middle of the sheet, (n, 2)."""
    ink = 255 - images[:, 0].double()
    h, w = ink.shape[1:]
    total = ink.sum((1, 2))
    x = (ink.sum(1) * (torch.arange(w) + 0.5 - w / 2)).sum(1) / total
    y = (ink.sum(2) * (torch.arange(h) + 0.5 - h / 2)).sum(1) / total
    return torch.stack([x, y], dim=1)


def test_by_default_nothing_changes() -> None:
    images = sheets(3)
    assert SketchAugmentation()(images, generator()) is images


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_dtype_stay_and_the_generator_decides_all(dtype: torch.dtype, channels: int) -> None:
    images = sheets(5).to(dtype).expand(5, channels, 48, 48)
    before = images.clone()
    once, again, other = (ALL(images, generator(seed)) for seed in (1, 1, 2))
    assert once.shape == images.shape and once.dtype == dtype
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert torch.equal(images, before)  # what is in memory is not painted over
    assert float(once.min()) >= 0 and float(once.max()) <= 255
    assert not any(torch.equal(a, b) for a, b in pairwise(once))  # each has its own
    if channels == 3:
        assert torch.equal(once[:, 0], once[:, 2])


def test_batches_larger_than_what_is_done_at_once_are_whole() -> None:
    n = 3 * PIXELS_AT_ONCE // (48 * 48)
    changed = ALL(sheets(n), generator())
    ink = (255.0 - changed).sum((1, 2, 3))
    assert len(changed) == n and bool((ink > 0).all())
    assert len(ink.unique()) > 0.9 * n


@pytest.mark.parametrize("n", [0, 1, 4])
def test_blank_paper_stays_blank(n: int) -> None:
    blank = torch.full((n, 1, 20, 30), 255, dtype=torch.uint8)
    assert torch.equal(ALL(blank, generator()), blank)


def test_flipped_or_not() -> None:
    images = sheets(40)
    changed = SketchAugmentation(flip=True)(images, generator())
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(changed, images, strict=True)]
    assert flipped == [not torch.equal(a, b) for a, b in zip(changed, images, strict=True)]
    assert 10 < sum(flipped) < 30


def test_rotations_by_quarters_are_exact() -> None:
    images = sheets(40)
    changed = SketchAugmentation(rotations=4)(images, generator())
    turns = torch.stack([images[0].rot90(k, (1, 2)) for k in range(4)])
    which = (changed[:, None].int() - turns[None].int()).abs().amax((2, 3, 4)) <= 1
    assert bool((which.sum(1) == 1).all()) and bool((which.sum(0) > 2).all())


def test_the_papers_rotations_are_eighteen_degrees_apart() -> None:
    changed = SketchAugmentation(rotations=20)(dots(400, 40, 40, 20, 32), generator())
    x, y = centres(changed).unbind(1)
    degrees = torch.rad2deg(torch.atan2(y, x)) / 18
    assert float((degrees - degrees.round()).abs().max()) < 0.02
    assert len((degrees.round() % 20).unique()) == 20
    assert torch.allclose(x.hypot(y), torch.full((400,), 12.0, dtype=torch.float64), atol=0.05)


@pytest.mark.parametrize("h, w", [(40, 40), (40, 60)])
def test_a_turn_keeps_distances_also_on_an_oblong_sheet(h: int, w: int) -> None:
    changed = SketchAugmentation(turn=20.0)(dots(1000, h, w, h / 2, w / 2 + 12), generator())
    x, y = centres(changed).unbind(1)
    assert torch.allclose(x.hypot(y), torch.full((1000,), 12.0, dtype=torch.float64), atol=0.05)
    angle = torch.rad2deg(torch.atan2(y, x))
    assert float(angle.std()) == pytest.approx(20.0, rel=0.1)
    assert float(angle.mean()) == pytest.approx(0.0, abs=3.0)


def test_any_angle() -> None:
    changed = SketchAugmentation(turn=180.0)(dots(1000, 40, 40, 20, 32), generator())
    x, y = centres(changed).unbind(1)
    counts = torch.histc(torch.rad2deg(torch.atan2(y, x)), 12, -180, 180)
    assert float(counts.min()) > 40 and float(counts.max()) < 140


def test_shifts_are_uniform_and_reach_as_far_as_asked() -> None:
    moved = centres(SketchAugmentation(shift=5.0)(dots(1000, 40, 40, 20, 20), generator()))
    assert 4.8 < float(moved.abs().max()) < 5.1
    assert float(moved.std()) == pytest.approx(5 / math.sqrt(3), rel=0.06)
    assert float((moved[:, 0] * moved[:, 1]).mean()) == pytest.approx(0.0, abs=0.6)  # independent


def test_scale_and_stretch() -> None:
    # Two dots on the axes tell how far each axis is stretched.
    aside = centres(SketchAugmentation(scale=0.2)(dots(500, 60, 60, 30, 45), generator()))
    below = centres(SketchAugmentation(scale=0.2)(dots(500, 60, 60, 45, 30), generator()))
    torch.testing.assert_close(aside[:, 0], below[:, 1], atol=0.02, rtol=0)  # the same in both directions
    factor = aside[:, 0] / 15
    assert 0.79 < float(factor.min()) < 0.81 and 1.19 < float(factor.max()) < 1.21
    wide = centres(SketchAugmentation(stretch=0.3)(dots(500, 60, 60, 30, 45), generator()))[:, 0] / 15
    high = centres(SketchAugmentation(stretch=0.3)(dots(500, 60, 60, 45, 30), generator()))[:, 1] / 15
    torch.testing.assert_close(wide * high, torch.ones_like(wide), atol=0.01, rtol=0)  # the area stays
    assert float((wide / high).log().abs().max()) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("option, cells", [("elastic", 4), ("tremor", 20)])
def test_bending_moves_by_as_much_as_asked(option: str, cells: int) -> None:
    """Along a ramp, grey is the place, so what a pixel shows says from where it was taken."""
    ramp = torch.arange(100).float().expand(300, 1, 100, 100)
    moved = SketchAugmentation(**{option: 1.5})(ramp, generator()) - ramp
    middle = moved[:, 0, 20:80, 20:80]  # outside is white paper
    assert float(middle.std()) == pytest.approx(1.5, rel=0.05)
    for far, alike in ((1, 0.99 if cells == 4 else 0.9), (100 // cells, 0.7)):
        near = torch.corrcoef(torch.stack([middle[:, 30, 10], middle[:, 30, 10 + far]]))[0, 1]
        assert float(near) > alike if far == 1 else float(near) < alike


def test_thickness_goes_both_ways_and_strokes_never_vanish() -> None:
    lines = torch.full((200, 1, 21, 21), 255, dtype=torch.uint8)
    lines[:, :, 10] = 0
    changed = SketchAugmentation(thickness=2.0)(lines, generator())
    width = (255.0 - changed[:, 0]).sum(1)[:, 10] / 255
    assert 0.34 < float(width.min()) < 0.36 and 2.9 < float(width.max()) <= 3.0
    assert bool((changed[:, 0, 10].float() < 255 * 0.66).all())


def test_gaps_are_at_most_so_many_and_where_there_is_ink() -> None:
    lines = torch.full((300, 1, 9, 60), 255, dtype=torch.uint8)
    lines[:, :, 4] = 0
    changed = SketchAugmentation(gaps=2, gap_size=5.0)(lines, generator())
    torn = (changed[:, 0, 4] == 255).int()
    pieces = (torn.diff(dim=1) == 1).sum(1) + torn[:, 0]
    assert set(pieces.tolist()) == {0, 1, 2}
    assert int(torn.sum(1).max()) == 10
    rows = [row for row in range(9) if row != 4]
    assert bool((changed[:, 0, rows] == 255).all())


def test_in_a_preparation_paper_stays_the_brightest() -> None:
    """The colour that others fill with, the mean of the pixels, is no paper."""
    images = sheets(6)
    prepare = Preparation(Normalization.from_pixels(images), SketchAugmentation(turn=30.0, shift=10.0))
    x = prepare(images, generator())
    plain = prepare(images)
    corners = x[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, plain.max().expand_as(corners))


@pytest.mark.parametrize(
    "options, named",
    [
        ({"turn": -1.0}, "at least 0"),
        ({"gaps": -1}, "at least 0"),
        ({"elastic": math.nan}, "at least 0"),
        ({"shift": math.inf}, "finite"),
        ({"scale": 1.0}, "scale"),
        ({"scale": -0.1}, "scale"),
    ],
)
def test_numbers_that_make_no_sense(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SketchAugmentation(**options)


def test_a_turned_sheet_is_what_scipy_makes_of_it() -> None:
    from scipy.ndimage import affine_transform

    image = sheets(1)[0, 0].double().numpy()
    changed = SketchAugmentation(turn=25.0, shift=3.0, scale=0.2, stretch=0.2)
    got = changed(torch.from_numpy(image)[None, None].float(), generator(5))[0, 0].double().numpy()
    # The same map, found from three dots: where they are after it fixes an affine map.
    places = [(24.0, 24.0), (24.0, 34.0), (34.0, 24.0)]
    after = [
        centres(changed(dots(1, 48, 48, row, column), generator(5)))[0].flip(0).numpy()
        for row, column in places
    ]
    A = np.stack([after[2] - after[0], after[1] - after[0]], axis=1) / 10
    inverse = np.linalg.inv(A)
    middle = np.array([23.5, 23.5])
    offset = middle - inverse @ (middle + after[0])
    expected = 255 - affine_transform(255 - image, inverse, offset, order=1, mode="grid-constant")
    assert np.abs(got - expected).mean() < 0.5 and np.abs(got - expected).max() < 12
