"""Drawings of one form: centred, of one size, dark on white."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from batchot.data.sketch_image import canonical, on_white_paper


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


def test_strokes_of_all_widths_stay_visible_when_made_small() -> None:
    """Lines of 1, 2, 4 and 16 pixels, 1,000 long, brought to 50: each is seen, the thickest is black."""
    paper = np.full((1000, 1000), 255, np.uint8)
    for place, width in ((0, 16), (300, 4), (600, 2), (999, 1)):
        paper[place : place + width] = 0
    drawn = canonical(paper, 50)
    assert drawn is not None
    middle = drawn[:, 25].astype(int)
    dark = [int(middle[rows].min()) for rows in (slice(0, 8), slice(12, 22), slice(25, 35), slice(40, 50))]
    assert dark[0] == 0
    assert all(shade < 215 for shade in dark), dark


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
