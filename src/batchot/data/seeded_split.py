"""A division into training and test that depends on a seed and on names, and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def choose_test(names: Sequence[str], fraction: float, seed: int) -> frozenset[str]:
    """Choose by chance which shapes of one class are kept for the test.

    Each name is given a place by a checksum of it and the seed, and the first are taken. So neither the order
    of the names nor what other classes there are matters, and a shape more moves at most one to another part.

    Args:
        names: of all shapes of the class, different from one another.
        fraction: share to choose, rounded to whole shapes; at least one is chosen and one is left, unless
            there is only one, which is left.
        seed: of the choice.

    Returns:
        The names chosen.

    Example:
        >>> from batchot.data.seeded_split import choose_test
        >>> sorted(choose_test(["a", "b", "c", "d"], 0.5, seed=0)), choose_test(["a"], 0.5, seed=0)
        (['c', 'd'], frozenset())
    """
    count = min(max(1, round(fraction * len(names))), len(names) - 1)

    def place(name: str) -> bytes:
        # A name that is no text to the machine is one here, too.
        return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()

    return frozenset(sorted(names, key=place)[: max(count, 0)])
