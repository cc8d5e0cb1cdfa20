"""Work done ahead: the order, errors in their turn, nothing begun after the reader has left."""

from __future__ import annotations

import threading
import time

import pytest

from batchot.data.batches.loader import prefetch


def test_order_and_how_far_ahead() -> None:
    begun: list[int] = []

    def job(i: int) -> int:
        begun.append(i)
        return i

    results = prefetch((lambda i=i: job(i) for i in range(10)), ahead=2)  # type: ignore[misc]
    assert next(results) == 0
    time.sleep(0.05)
    assert max(begun) <= 3
    assert list(results) == list(range(1, 10))


def test_an_error_comes_in_its_turn() -> None:
    def fail() -> int:
        raise KeyError("third")

    results = prefetch([lambda: 1, lambda: 2, fail, lambda: 4], ahead=3)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(results)


def test_the_thread_ends_with_the_reader() -> None:
    before = threading.active_count()
    results = prefetch((lambda: time.sleep(0.01) for _ in range(1000)), ahead=5)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
