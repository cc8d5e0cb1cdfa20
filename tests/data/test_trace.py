"""Lines that are known as pixels, followed with a pen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from batchot.data.augment.trace import trace
from batchot.data.sets.quickdraw import RECORDED, Hand, draw_strokes


def picture(*lines: list[tuple[int, int]], width: int = 2, size: int = 64) -> torch.Tensor:
    paper = Image.new("L", (size, size), "white")
    for line in lines:
        ImageDraw.Draw(paper).line(line, fill="black", width=width)
    return torch.from_numpy(np.asarray(paper).copy())[None, None]


def strokes_of(image: torch.Tensor) -> list[np.ndarray]:
    points, strokes, firsts = trace(image)
    assert firsts.tolist() == [0, len(strokes) - 1]
    ends = itertools.pairwise(strokes.tolist())
    return [points[a:b].numpy() * image.shape[-1] for a, b in ends]


@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_straight_line_is_two_points(width: int) -> None:
    (stroke,) = strokes_of(picture([(10, 20), (50, 20)], width=width))
    assert len(stroke) == 2
    assert sorted(stroke[:, 0].round().tolist()) == pytest.approx([10, 50], abs=2)
    assert stroke[:, 1] == pytest.approx([20, 20], abs=1.5)


def test_at_a_crossing_one_goes_straight_on() -> None:
    strokes = strokes_of(picture([(10, 10), (50, 50)], [(10, 50), (50, 10)]))
    long = [stroke for stroke in strokes if np.ptp(stroke, axis=0).max() > 25]
    assert 1 <= len(long) <= 3
    assert np.ptp(long[0], axis=0).min() > 30  # from corner to corner


def test_a_closed_line_is_closed_and_the_longest_comes_first() -> None:
    box = [(10, 10), (50, 10), (50, 50), (10, 50), (10, 10)]
    first, second = strokes_of(picture(box, [(25, 30), (35, 30)]))
    assert np.abs(first[0] - first[-1]).max() <= 1.5
    assert 4 <= len(first) <= 14  # its corners, cut a little
    assert np.ptp(second, axis=0).max() < 14


def test_what_is_drawn_from_the_strokes_is_the_drawing() -> None:
    box = [(4, 4), (59, 4), (59, 59), (4, 59), (4, 4)]
    image = picture(box, [(4, 4), (59, 59)], width=1)
    again = draw_strokes(trace(image), torch.tensor([0]), RECORDED, None, torch.ones(1), 64)
    dark, wanted = again[0, 0] < 160, image[0, 0] < 160
    near = torch.nn.functional.max_pool2d(dark[None].float(), 5, 1, 2)[0] > 0
    assert float((near & wanted).sum() / wanted.sum()) > 0.97
    assert abs(int(dark.sum()) - int(wanted.sum())) < 0.35 * int(wanted.sum())


def test_blank_paper_and_dots_have_no_stroke_and_are_drawn_white() -> None:
    images = torch.cat([torch.full((1, 1, 64, 64), 255, dtype=torch.uint8), picture([(5, 5), (50, 9)])])
    images[0, 0, 30, 30] = 0
    points, strokes, firsts = trace(images)
    assert firsts.tolist() == [0, 0, 1]
    both, shares = torch.arange(2), torch.tensor([0.5, 0.5])
    drawn = draw_strokes((points, strokes, firsts), both, Hand.of(1.0), both, shares, 64)
    assert (drawn[0] == 255).all() and drawn[1].min() < 100


def test_a_full_sheet_of_ink_ends() -> None:
    assert len(trace(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))[2]) == 2
