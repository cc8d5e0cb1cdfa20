"""Drawings as strokes: what is drawn where, by which hand, and how much of it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from batchot.data.sets.quickdraw import RECORDED, Drawings, Hand
from batchot.errors import DataError

SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]
RULED = [[[0, y], [30, y]] for y in (0, 10, 20, 30)]  # four strokes of one length, from the top
ONE = torch.tensor([0])


def drawn(*drawings: list, size: int = 64, hand: Hand = RECORDED) -> Drawings:
    labels = torch.zeros(len(drawings), dtype=torch.int64)
    return Drawings.of(drawings, labels, ("thing",), size=size, hand=hand)


def ink(pixels: torch.Tensor) -> torch.Tensor:
    return (255 - pixels.float()).flatten(1).sum(1) / 255


@pytest.mark.parametrize("unit", [1.0, 25.6, 1e-4])
@pytest.mark.parametrize("place", [0.0, -700.0])
def test_a_drawing_fills_its_picture_whatever_its_unit_and_place(unit: float, place: float) -> None:
    moved = [[[unit * x + place * unit, unit * y] for x, y in stroke] for stroke in SQUARE]
    assert torch.equal(drawn(moved).batch(ONE), drawn(SQUARE).batch(ONE))
    dark = (drawn(SQUARE).batch(ONE)[0, 0] < 128).nonzero()
    assert dark.min() == 3 and dark.max() == 60  # a margin of 5 % of 64 pixels


@pytest.mark.parametrize("size", [32, 128, 200])
def test_a_line_is_as_wide_as_the_pen_and_anti_aliased(size: int) -> None:
    """The ink of a slanting line is its length times its width, so nothing is stepped or lost."""
    pixels = drawn([[[0, 0], [10, 7]]], size=size).batch(ONE)
    pen = max(1.0, 0.009 * size)
    length = (size * 0.9 - pen) * (1 + 0.7**2) ** 0.5
    assert float(ink(pixels)) == pytest.approx(length * pen + 0.8 * pen**2, rel=0.06)
    assert len(pixels.unique()) > 8


def test_crossing_strokes_are_not_darker_than_black_and_order_does_not_matter() -> None:
    cross = [[[0, 0], [10, 10]], [[0, 10], [10, 0]]]
    assert torch.equal(drawn(cross).batch(ONE), drawn(cross[::-1]).batch(ONE))
    assert drawn(cross).batch(ONE).min() == 0


def test_a_hand_that_changes_nothing_draws_what_was_recorded() -> None:
    plain = drawn(SQUARE, RULED)
    both = torch.tensor([0, 1])
    assert torch.equal(plain.draw(both, torch.Generator()), plain.batch(both))


@pytest.mark.parametrize("habit", [field.name for field in fields(Hand)])
def test_every_habit_is_seen(habit: str) -> None:
    strength = 0.95 if habit in ("omit", "join", "straighten") else 0.2
    wave = [[[k, 3.0 * (k % 2)] for k in range(10)], [[9.0, 4.0], [5.0, 6.0]], [[2, 6], [3, 9]]]
    sheet = drawn(wave, hand=replace(Hand(), **{habit: strength}))
    often = ONE.repeat(40)
    changed = sheet.draw(often, torch.Generator().manual_seed(0))
    same = (changed == sheet.batch(ONE)).flatten(1).all(1)
    assert int(same.sum()) < 35
    if habit == "omit":
        assert (ink(changed) < 0.9 * ink(sheet.batch(ONE))).any()
        assert (ink(changed) > 0.4 * ink(sheet.batch(ONE))).all()  # the longest stroke always stays
    if habit == "join":
        assert (ink(changed) >= ink(sheet.batch(ONE)) - 1).all()


def test_each_drawing_has_a_hand_of_its_own_by_its_seed_alone() -> None:
    sheet = drawn(SQUARE, RULED, hand=Hand.of(1.0))
    generator = torch.Generator().manual_seed(4)
    several = sheet.draw(torch.tensor([0, 0, 1]), generator)
    assert not torch.equal(several[0], several[1])
    again = sheet.draw(torch.tensor([0, 1, 1]), torch.Generator().manual_seed(4))
    assert torch.equal(several[0], again[0]) and torch.equal(several[2], again[2])


@pytest.mark.parametrize("share, strokes", [(0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_the_first_share_of_the_ink(share: float, strokes: int) -> None:
    sheet = drawn(RULED, RULED[:strokes])
    assert torch.equal(sheet.begun(ONE, share), sheet.batch(ONE + 1))


def test_a_stroke_ends_where_the_share_does() -> None:
    sheet = drawn([[[0, 0], [10, 0]], [[10, 0], [10, 10]]], [[[0, 0], [10, 0]], [[10, 0], [10, 5]]])
    assert torch.equal(sheet.begun(ONE, 0.75), sheet.batch(ONE + 1))


def test_unfinished_drawings_for_training() -> None:
    sheet = drawn(RULED)
    many = sheet.draw(ONE.repeat(200), torch.Generator().manual_seed(0), partial=0.4)
    whole = (many == sheet.batch(ONE)).flatten(1).all(1)
    assert 0.5 < float(whole.float().mean()) < 0.7
    # of equal lines, the first n spread over the picture: one line is the least, 25 % of all
    assert ink(many).min() > 0.9 * 64 * 0.9


def test_subsets_keep_their_strokes_and_names() -> None:
    sheet = replace(drawn(SQUARE, RULED), names=("square", "ruled"))
    part = sheet.subset(torch.tensor([1, 0, 1]))
    assert part.names == ("ruled", "square", "ruled")
    assert torch.equal(part.batch(torch.tensor([2])), sheet.batch(torch.tensor([1])))
    assert len(part.subset(torch.tensor([], dtype=torch.int64))) == 0
    assert part.batch(torch.tensor([], dtype=torch.int64)).shape == (0, 1, 64, 64)


def test_what_does_not_fit_is_refused() -> None:
    sheet = drawn(SQUARE)
    with pytest.raises(DataError, match="there must be one for each"):
        replace(sheet, labels=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(DataError, match="counted to the last"):
        replace(sheet, points=sheet.points[:3])
    with pytest.raises(ValueError, match="at least 0"):
        Hand(omit=-0.1)
