"""Augmented clouds: each change alone, and that nothing leaves the picture."""

from __future__ import annotations

import pytest
import torch

from batchot.data import CloudAugmentation
from batchot.data.augment.clouds import seen_from
from batchot.data.augment.images import Splat


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


POINTS = torch.nn.functional.normalize(torch.randn(50, 20, 3, generator=generator(1)), dim=2)


def test_nothing_by_default() -> None:
    assert torch.equal(CloudAugmentation()(POINTS, generator()), POINTS)


def test_scale_is_one_factor_an_axis_around_one() -> None:
    factors = CloudAugmentation(scale=0.2)(POINTS, generator()) / POINTS
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2
    assert factors[:, 0].mean().item() == pytest.approx(1, abs=0.03)


def test_mirror_leaves_up_alone() -> None:
    signs = CloudAugmentation(mirror=True)(POINTS, generator()) / POINTS
    assert torch.allclose(signs[..., 2], torch.ones(()))
    seen = {tuple(s) for s in signs[:, 0, :2].round().int().tolist()}
    assert seen == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


@pytest.mark.parametrize("turn", [10.0, 180.0])
def test_turn_is_a_rotation_about_z(turn: float) -> None:
    changed = CloudAugmentation(turn=turn)(POINTS, generator())
    torch.testing.assert_close(changed[..., 2], POINTS[..., 2])
    torch.testing.assert_close(torch.cdist(changed, changed), torch.cdist(POINTS, POINTS), atol=1e-3, rtol=0)
    before = torch.atan2(POINTS[..., 1], POINTS[..., 0])[:, 0]
    angle = torch.atan2(changed[..., 1], changed[..., 0])[:, 0] - before
    angle = torch.rad2deg(torch.atan2(angle.sin(), angle.cos()))
    spread = 10 if turn == 10 else 104  # of a uniform angle: 360 / sqrt(12)
    assert angle.std().item() == pytest.approx(spread, rel=0.3)


def test_jitter_has_the_deviation_asked_for() -> None:
    moved = CloudAugmentation(jitter=0.05)(POINTS, generator()) - POINTS
    assert moved.std().item() == pytest.approx(0.05, rel=0.05)


def test_of_a_ball_the_near_side_is_seen() -> None:
    ball = torch.nn.functional.normalize(torch.randn(8, 1024, 3, generator=generator(2)), dim=2)
    directions = torch.randn(8, 3, generator=generator(3))
    towards = (ball @ torch.nn.functional.normalize(directions, dim=1)[:, :, None])[:, :, 0]
    seen = seen_from(ball, directions)
    assert seen[towards > 0.5].float().mean() > 0.97  # of steep cells the far end is not
    assert seen[towards < -0.1].float().mean() < 0.03
    torch.testing.assert_close(seen_from(7 * ball + 3, 2 * directions), seen)


def test_of_two_plates_one_is_seen_whatever_the_side() -> None:
    plate = torch.rand(500, 3, generator=generator(4)) * 2 - 1
    for axis in range(3):
        near, far = plate.clone(), plate.clone()
        near[:, axis], far[:, axis] = 0.9, -0.9
        both = torch.cat([near, far])[None]
        direction = torch.eye(3)[axis : axis + 1]
        for sign, seen in ((1, slice(0, 500)), (-1, slice(500, 1000))):
            expected = torch.zeros(1, 1000, dtype=torch.bool)
            expected[:, seen] = True
            assert torch.equal(seen_from(both, sign * direction), expected)


def test_a_part_of_the_clouds_keeps_one_side() -> None:
    ball = torch.nn.functional.normalize(torch.randn(200, 256, 3, generator=generator(2)), dim=2)
    changed = CloudAugmentation(partial=0.25)(ball, generator())
    same = (changed == ball).all(2).all(1)
    assert 30 <= (~same).sum() <= 70
    halves = changed[~same]
    assert halves.shape[1:] == (256, 3)
    torch.testing.assert_close(halves.norm(dim=2).amax(1), torch.ones(len(halves)))
    torch.testing.assert_close(halves.amax(1), -halves.amin(1))  # in the middle of its box
    different = torch.tensor([len(cloud.unique(dim=0)) for cloud in halves])
    assert different.min() > 90 and different.max() < 200  # of 256 some half are seen
    centres = torch.cdist(halves.mean(1), torch.zeros(1, 3))
    assert centres.min() > 0.05  # a bowl, not a ball: its mean is not the middle of its box


def test_what_was_made_larger_is_not_cut_off() -> None:
    # the six ends of a shape of the unit sphere, a tenth larger: each of the six views has four at its borders
    ends = 1.1 * torch.cat([torch.eye(3), -torch.eye(3)])[None]
    cut, whole = (Splat("box-6", size=32, radius=1.5, margin=m)(ends)[0, :, 0] > 0 for m in (0.0, 0.2))
    border = torch.ones(32, 32, dtype=torch.bool)
    border[8:-8, 8:-8] = False
    assert (cut & border).sum() == 0
    assert all((view & border).sum() >= 4 for view in whole)
    for view in whole:
        rows, columns = view.nonzero(as_tuple=True)
        for where in (rows, columns):
            assert where.min() <= 4 and where.max() >= 27  # it still fills the picture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 1.0}, r"scale must be in \[0, 1\), got 1.0"),
        ({"turn": -1.0}, "turn and jitter must be at least 0, got -1.0 and 0.0"),
        ({"jitter": float("nan")}, "got 0.0 and nan"),
        ({"partial": 1.5}, r"partial must be in \[0, 1\], got 1.5"),
    ],
)
def test_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CloudAugmentation(**options)
