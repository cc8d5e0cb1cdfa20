"""Random choices that are the same on every machine and with every version of NumPy."""

from __future__ import annotations

import random
from typing import TypeVar

Option = TypeVar("Option")


class Dice:
    """Choices that follow from a key alone."""

    def __init__(self, *key: str | int) -> None:
        self._random = random.Random("/".join(str(part) for part in key))

    def between(self, low: float, high: float) -> float:
        """A number uniform over ``low .. high``."""
        return low + (high - low) * self._random.random()

    def whole(self, low: int, high: int) -> int:
        """A whole number uniform over ``low .. high``, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def pick(self, *options: Option) -> Option:
        """One of the options, each as likely as the next; name one twice to make it twice as likely."""
        return options[int(self._random.random() * len(options))]
