"""How what there is not enough of is shared between clients: nobody can take all of it."""

from __future__ import annotations

from collections import Counter


class Shares:
    """A quantity of which a client may hold at most as much as is left free.

    One client alone gets half of all, two get a third each, and there is always something left for the next one.

    Args:
        total: of the quantity

    >>> shares = Shares(4)
    >>> [shares.take("a", 1) for _ in range(3)], shares.take("b", 1)
    ([True, True, False], True)
    """

    def __init__(self, total: int) -> None:
        self.total, self.used = total, 0
        self.held: Counter[str] = Counter()

    def has(self, client: str, n: int = 1) -> bool:
        """Say whether a client may take so much."""
        return self.held[client] + n <= self.total - self.used

    def take(self, client: str, n: int = 1) -> bool:
        """Take so much, or nothing where that is too much."""
        if not self.has(client, n):
            return False
        self.used += n
        self.held[client] += n
        return True

    def give(self, client: str, n: int = 1) -> None:
        """Give back what was taken."""
        self.used -= n
        self.held[client] -= n
        if self.held[client] <= 0:
            del self.held[client]
