"""Drawings of one form: centred, of one size, dark on white."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from batchot.data.sets.sketch_image import canonical, on_white_paper


@settings(max_examples=80, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30))),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.05, 0.2]),
)
def test_margin_centre_and_size(pixels: np.ndarray, size: int, margin: float) -> None:
    drawn = canonical(pixels, size, margin=margin)
    if drawn is None:
        assert pixels.min() > 255 - 24
        return
    assert drawn.shape == (size, size) and drawn.dtype == np.uint8
    assert drawn.min() == 0
    rows, columns = np.where(drawn < 255)
    room = max(round(size * (1 - 2 * margin)), 1)
    assert np.ptp(rows) < room and np.ptp(columns) < room


def test_proportions_and_centre() -> None:
    paper = np.full((100, 200), 255, np.uint8)
    paper[10:31, 20:61] = 0  # 21 high, 41 wide, filled
    drawn = canonical(paper, 45, margin=1 / 45 * 2)
    assert drawn is not None
    rows, columns = np.where(drawn < 128)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (2, 42, 12, 32)


def shades(widths: tuple[int, ...]) -> list[int]:
    """The darkest of each of some parallel lines, 1,000 pixels long and apart, brought to 50."""
    paper = np.full((1000, 1000), 255, np.uint8)
    for width, place in zip(widths, (0, 330, 660, 980), strict=True):
        paper[place : place + width] = 0
    drawn = canonical(paper, 50)
    assert drawn is not None
    middle = drawn[:, 25].astype(int)
    return [int(middle[rows].min()) for rows in (slice(0, 8), slice(13, 23), slice(28, 38), slice(40, 50))]


def test_strokes_stay_dark_when_made_small() -> None:
    """Averaging alone would leave a line of 1 pixel, a twentieth of the result's, at 242 of 255."""
    for width in (1, 2, 5, 16):
        assert max(shades((width, width, width, width))) < 130


def test_thin_strokes_beside_thick_ones_stay_visible() -> None:
    found = shades((16, 8, 4, 2))
    assert found == sorted(found)
    assert found[0] == 0 and found[3] < 220


def test_none_of_nothing() -> None:
    assert canonical(np.full((8, 8), 255, np.uint8), 16) is None
    assert canonical(np.full((8, 8), 240, np.uint8), 16) is None
    assert canonical(np.empty((0, 5), np.uint8), 16) is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (90, 130), (200, 60)])
def test_paper_is_what_lies_at_the_border(channels: int, ink: int, paper: int) -> None:
    colours = np.full((40, 50, channels), paper, np.uint8)
    colours[5:30, 8:40] = ink  # most of the picture is drawn on
    grey = on_white_paper(colours)
    expected = np.full((40, 50), 255)
    expected[5:30, 8:40] = 0
    assert np.array_equal(grey, expected)


def test_ink_that_only_one_channel_shows() -> None:
    colours = np.full((30, 30, 3), (250, 250, 250), np.uint8)
    colours[10:20, 14] = (250, 250, 120)
    assert on_white_paper(colours)[10:20, 14].tolist() == [0] * 10
