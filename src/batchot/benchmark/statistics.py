"""Means over seeds and their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval; there is no interval of a single value."""

    mean: float
    half: float | None
    n: int

    @property
    def low(self) -> float:
        """Lower end; the mean itself of a single value."""
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        """Upper end; the mean itself of a single value."""
        return self.mean + (self.half or 0.0)

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below 0, else 0; 0 without an interval."""
        if self.half is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    r"""Mean and interval by Student's t.

    .. math:: \bar v \pm t_{n-1, (1 + level) / 2} \, s / \sqrt{n}

    Args:
        values: one of each seed, at least one
        level: of confidence

    Returns:
        The interval; without a width for a single value.

    Raises:
        ValueError: there is no value

    Example:
        >>> interval = mean_interval([1.0, 2.0, 3.0])
        >>> interval.mean, round(interval.half, 3)
        (2.0, 2.484)
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    mean = statistics.fmean(values)
    n = len(values)
    if n == 1:
        return Interval(mean, None, 1)
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean, half, n)


def paired_difference(first: dict[int, float], second: dict[int, float]) -> Interval | None:
    """Give the interval of the difference between two losses, seed by seed.

    The runs of a seed share their first weights, batches and augmentation, so that much of what makes seeds differ
    falls out of the difference.

    Args:
        first, second: value by seed

    Returns:
        Interval of first - second over the seeds that both have; None if they have none.

    >>> paired_difference({1: 0.5, 2: 0.625}, {1: 0.25, 2: 0.375, 3: 0.0})
    Interval(mean=0.25, half=0.0, n=2)
    """
    shared = sorted(first.keys() & second.keys())
    return mean_interval([first[seed] - second[seed] for seed in shared]) if shared else None
