"""A division by names and seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from batchot.data.sets import shape_files

names = st.sets(st.text(min_size=1), min_size=1, max_size=60).map(sorted)
fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 1000)


def choose_test(names: Sequence[str], fraction: float, seed: int) -> frozenset[str]:
    return shape_files.choose_test((("class", name) for name in names), fraction, seed)


@given(names, fractions, seeds)
def test_share_and_order(names: list[str], fraction: float, seed: int) -> None:
    chosen = choose_test(names, fraction, seed)
    n = len(names)
    assert len(chosen) == (0 if n == 1 else min(max(1, round(fraction * n)), n - 1))
    assert chosen <= set(names)
    shuffled = names.copy()
    random.Random(seed).shuffle(shuffled)
    assert choose_test(shuffled, fraction, seed) == chosen


@given(names, st.text(min_size=1), fractions, seeds)
def test_a_shape_more_moves_at_most_one_other(names: list[str], new: str, fraction: float, seed: int) -> None:
    names = [name for name in names if name != new]
    if not names:
        return
    before, after = choose_test(names, fraction, seed), choose_test([*names, new], fraction, seed)
    assert len(before ^ (after - {new})) <= 1


def test_another_seed_gives_another_division() -> None:
    names = [str(k) for k in range(100)]
    assert len({choose_test(names, 0.2, seed) for seed in range(20)}) == 20


def test_every_name_has_its_chance() -> None:
    names = [f"chair/chair_{k:04}" for k in range(50)]
    drawn = [name for seed in range(400) for name in choose_test(names, 0.2, seed)]
    counts = [drawn.count(name) for name in names]
    assert sum(counts) == 4000
    assert min(counts) > 45 and max(counts) < 120  # 80 is expected, the deviation 8


def test_is_the_same_on_every_machine_and_in_every_version() -> None:
    names = [f"cup/{k}" for k in range(10)]
    assert sorted(choose_test(names, 0.3, seed=1)) == ["cup/0", "cup/8", "cup/9"]


def test_names_that_are_no_text() -> None:
    assert len(choose_test(["a\udcff", "b"], 0.5, seed=0)) == 1
