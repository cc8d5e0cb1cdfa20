from __future__ import annotations

import torch

from batchot.data import Images
from batchot.data.batches.loader import Joined
from batchot.data.clouds import Clouds
from batchot.reporting.material import thumbnails_of


def test_images_are_their_own_thumbnails() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert thumbnails_of(Images(pixels, torch.tensor([0, 0]), ("a",))) is pixels


def test_clouds_are_drawn_dark_on_white_and_upright() -> None:
    stick = torch.zeros(1, 200, 3)
    stick[0, :, 2] = torch.linspace(-1, 1, 200)  # along the vertical
    (drawn,) = thumbnails_of(Clouds(stick, torch.tensor([0]), ("stick",), ("stick/1",)))
    assert drawn.shape == (1, 96, 96)
    ink = drawn[0] < 255
    assert 100 < int(ink.sum()) < 0.1 * 96 * 96
    assert int(ink.any(1).sum()) > 5 * int(ink.any(0).sum())
    assert drawn[0, 0, 0] == 255


def test_drawings_that_are_read_a_batch_at_a_time_are_pictures_already() -> None:
    pixels = (
        torch.arange(6, dtype=torch.uint8).mul(40)[:, None, None, None].expand(6, 1, 128, 128).contiguous()
    )
    halves = [Images(part, torch.tensor([0, 0, 0]), ("a",)) for part in pixels.split(3)]
    drawn = thumbnails_of(Joined(*halves))
    assert drawn.shape == (6, 1, 96, 96)
    assert drawn[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160, 200]
