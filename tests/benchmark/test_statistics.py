from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from batchot.benchmark.results import Interval, mean_interval, paired_difference

values = st.lists(st.floats(-100, 100), min_size=2, max_size=12)


@given(values)
def test_interval_is_that_of_scipy(sample: list[float]) -> None:
    interval = mean_interval(sample)
    error = stats.sem(sample)
    assert interval.mean == pytest.approx(np.mean(sample), abs=1e-9)
    if error > 1e-9:
        low, high = stats.t.interval(0.95, len(sample) - 1, loc=np.mean(sample), scale=error)
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_intervals_hold_the_true_mean_19_times_in_20() -> None:
    generator = np.random.default_rng(0)
    hits = sum(
        abs(i.mean) <= (i.half or 0)
        for i in (mean_interval(list(generator.normal(size=3))) for _ in range(2000))
    )
    assert 0.93 < hits / 2000 < 0.97


def test_a_single_value_has_no_interval_and_no_sign() -> None:
    assert mean_interval([0.5]) == Interval(0.5, None, 1)
    assert mean_interval([0.5]).sign == 0
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_signs() -> None:
    assert Interval(1.0, 0.5, 3).sign == 1
    assert Interval(-1.0, 0.5, 3).sign == -1
    assert Interval(1.0, 1.5, 3).sign == 0


def test_differences_are_taken_seed_by_seed() -> None:
    first, second = {1: 0.5, 2: 0.7, 3: 0.9}, {3: 0.8, 1: 0.4, 2: 0.6, 4: 0.0}
    found = paired_difference(first, second)
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert found.half == pytest.approx(0.0, abs=1e-12)  # though the seeds differ by 0.4 among themselves
    assert paired_difference({1: 0.5}, {2: 0.5}) is None
