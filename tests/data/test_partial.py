"""Unfinished drawings of which only pixels are known."""

from __future__ import annotations

import pytest
import torch

from batchot.data import Images
from batchot.data.augment.strokes import begun, fresh_batch, unfinished


def two_parts() -> torch.Tensor:
    """A long line above and a short one below, which do not touch."""
    image = torch.full((1, 1, 60, 60), 255, dtype=torch.uint8)
    image[..., 10, 5:55] = 0
    image[..., 50, 20:40] = 0
    return image


def rows(image: torch.Tensor) -> set[int]:
    return set((image[0, 0] < 128).nonzero()[:, 0].tolist())


@pytest.mark.parametrize("seed", range(5))
def test_connected_parts_go_one_after_the_other(seed: int) -> None:
    """Of 70 pixels of ink, half are 35: a part of the long line, or the short one and a part of the long one."""
    half = begun(two_parts(), 0.5, seed)
    assert half.shape == (1, 1, 60, 60) and half.dtype == torch.uint8
    dark = (half[0, 0] < 128).nonzero()
    assert (dark.max(0).values - dark.min(0).values).max() >= 50  # what is there fills the picture
    assert begun(two_parts(), 0.5, seed).equal(half)


def test_which_part_comes_first_is_chance() -> None:
    """The long line has 50 of 70 pixels: the short one alone is 20, 28 %, and then is one row as long as the sheet."""
    assert len({begun(two_parts(), 0.6, seed).numpy().tobytes() for seed in range(20)}) > 1


def test_all_of_it() -> None:
    whole = begun(two_parts(), 1.0, 3)
    assert len(rows(whole)) == 2 and (whole[0, 0] < 128).sum() >= 60
    with pytest.raises(ValueError, match="share must lie in"):
        begun(two_parts(), 0.0, 0)


def test_blank_paper_stays_blank() -> None:
    paper = torch.full((2, 1, 20, 20), 255, dtype=torch.uint8)
    assert begun(paper, 0.5, 0).equal(paper)


def test_some_are_unfinished() -> None:
    images = two_parts().repeat(60, 1, 1, 1)
    changed = unfinished(images, torch.Generator().manual_seed(0), 0.5)
    share = 1 - float((changed == images).flatten(1).all(1).float().mean())
    assert 0.3 < share < 0.7
    assert images.equal(two_parts().repeat(60, 1, 1, 1))
    assert changed.equal(unfinished(images, torch.Generator().manual_seed(0), 0.5))


def test_pixels_are_read_as_they_are_and_draw_no_number_without_need() -> None:
    samples = Images(two_parts().repeat(3, 1, 1, 1), torch.zeros(3, dtype=torch.int64), ("lines",))
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert fresh_batch(samples, torch.arange(3), generator).equal(samples.images)
    assert generator.get_state().equal(before)
    assert not fresh_batch(samples, torch.arange(3), generator, 1.0).equal(samples.images)
