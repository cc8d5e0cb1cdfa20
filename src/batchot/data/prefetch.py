"""Work that is done ahead in the background, while the network computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(jobs: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Results of ``jobs`` in their order, computed by a thread that is up to ``ahead`` jobs in front.

    A job that raises does so when its turn comes. When the reader stops early no further job is begun.

    Args:
        jobs: functions of nothing; they are taken from here one by one, as there is room.
        ahead: jobs in front of the reader, at least 1.

    Returns:
        An iterator over the results.

    Raises:
        ValueError: when ``ahead`` is below 1.

    Example:
        >>> from batchot.data.prefetch import prefetch
        >>> list(prefetch((lambda i=i: i * i for i in range(4)), ahead=2))
        [0, 1, 4, 9]
    """
    if ahead < 1:
        raise ValueError(f"ahead must be at least 1, got {ahead}")
    return _prefetch(iter(jobs), ahead)


def _prefetch(jobs: Iterator[Callable[[], T]], ahead: int) -> Iterator[T]:
    # One thread: batches are made in order, and two would not be faster beside a network that uses all cores.
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque[Future[T]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
