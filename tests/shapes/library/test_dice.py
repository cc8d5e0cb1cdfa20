from __future__ import annotations

from batchot.shapes.library.part import Dice

FIRST = [0.62833, 0.105571, 0.432662]


def test_choices_follow_from_the_key() -> None:
    first, again, other = Dice("chair", 1), Dice("chair", 1), Dice("chair", 2)
    drawn = [first.between(0, 1) for _ in range(5)]
    assert drawn == [again.between(0, 1) for _ in range(5)]
    assert drawn != [other.between(0, 1) for _ in range(5)]


def test_first_numbers_are_those_of_every_machine() -> None:
    # Written down once: another sequence would change every shape and call for a new GENERATOR_VERSION.
    dice = Dice("chair", 0)
    assert [round(dice.between(0, 1), 6) for _ in range(3)] == FIRST


def test_whole_numbers_and_options_are_all_drawn() -> None:
    dice = Dice("x", 0)
    assert {dice.whole(2, 4) for _ in range(100)} == {2, 3, 4}
    assert {dice.pick("a", "b", "c") for _ in range(100)} == {"a", "b", "c"}


def test_chance_is_about_the_probability() -> None:
    dice = Dice("x", 1)
    assert 220 < sum(dice.chance(0.25) for _ in range(1000)) < 280
