"""The queue before the processes that read files: bounded, fair, and quick for what is quick."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from batchot.search.records import QueryRefused
from batchot.serve.door import Shares

T = TypeVar("T")
PLACES = 32
QUICK_SECONDS = 3.0
"""That a file may take which is thought to be quick; then it waits with the slow ones."""
_QUICK_PICTURE, _QUICK_SHAPE = 1 << 20, 256 << 10  # bytes
_HEAD_START = 3.0  # seconds that what is quick is ahead of what is not
_SLOW_FOR = 60.0  # seconds for which the shapes of a client count as slow after one was
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")


class Busy(Exception):
    """There is no place in the queue."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the server has much to do")
        self.retry_after = retry_after


@dataclass(eq=False)
class _Job(Generic[T]):
    client: str
    rank: int  # 0 a picture, 1 a small shape, 2 anything else
    work: Callable[[float | None], T]  # told how many seconds it may take
    since: float = field(default_factory=time.monotonic)
    result: asyncio.Future[T] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WorkQueue:
    """Runs work in threads, for each of which the sandbox has a process."""

    def __init__(self, workers: int, places: int = PLACES) -> None:
        self.workers = workers
        self.places = Shares(places)
        self._threads = ThreadPoolExecutor(workers + 1, thread_name_prefix="read")
        self._waiting: list[_Job[Any]] = []
        self._running: Counter[str] = Counter()
        self._slow_running = 0
        self._served: dict[str, float] = {}
        self._slow_until: dict[str, float] = {}
        self._mean_seconds = 1.0

    @property
    def waiting(self) -> int:
        """How much waits."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How much is being worked on."""
        return self._running.total()

    def check(self, client: str) -> None:
        """Refuse a client that could not wait, before its file has arrived."""
        if not self.places.has(client):
            raise Busy(max(1, min(120, math.ceil(self._mean_seconds * (self.waiting + 1) / self.workers))))

    async def run(self, client: str, data: bytes, work: Callable[[float | None], T]) -> T:
        """Do work when it is its turn; cancel it to leave."""
        rank = self._rank(client, data)
        try:
            return await self._wait(client, rank, work)
        except QueryRefused as error:
            if rank == 2 or error.reason != "time":
                raise
            self._slow_until[client] = time.monotonic() + _SLOW_FOR
            return await self._wait(client, 2, work)

    def close(self) -> None:
        """Begin nothing any more."""
        for job in self._waiting:
            job.result.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _rank(self, client: str, data: bytes) -> int:
        if data.startswith(_PICTURES):
            return 0 if len(data) <= _QUICK_PICTURE else 2
        slow = self._slow_until.get(client, 0.0) > time.monotonic()
        return 1 if len(data) <= _QUICK_SHAPE and not slow else 2

    async def _wait(self, client: str, rank: int, work: Callable[[float | None], T]) -> T:
        self.check(client)
        self.places.take(client)
        job = _Job(client, rank, work)
        self._waiting.append(job)
        self._start()
        try:
            return await job.result
        finally:
            if job in self._waiting:  # nobody waits for it any more
                self._waiting.remove(job)
                self.places.give(client)

    def _start(self) -> None:
        """Begin as much as there is room for."""
        while self._waiting and self.running <= self.workers:
            # one thread is left to what is quick
            fits = [job for job in self._waiting if job.rank < 2 or self._slow_running < self.workers]
            if not fits:
                return
            job = min(fits, key=self._turn)
            self._waiting.remove(job)
            self.places.give(job.client)
            self._begin(job)

    def _turn(self, job: _Job[Any]) -> tuple[float, ...]:
        served = self._served.get(job.client, 0.0)
        return (self._running[job.client], served, job.since + _HEAD_START * job.rank)

    def _begin(self, job: _Job[Any]) -> None:
        start = time.monotonic()
        self._running[job.client] += 1
        self._slow_running += job.rank == 2
        self._served[job.client] = start
        if len(self._served) > 1000:  # of clients that are long gone
            self._served = dict(sorted(self._served.items(), key=lambda item: item[1])[-500:])
            self._slow_until = {client: t for client, t in self._slow_until.items() if t > start}

        def done(future: asyncio.Future[Any]) -> None:
            self._running[job.client] -= 1
            self._running += Counter()  # drops zeros
            self._slow_running -= job.rank == 2
            self._mean_seconds += 0.1 * (time.monotonic() - start - self._mean_seconds)
            if not job.result.done():
                if future.cancelled():
                    job.result.cancel()
                elif (error := future.exception()) is not None:
                    job.result.set_exception(error)
                else:
                    job.result.set_result(future.result())
            elif not future.cancelled():
                future.exception()  # nobody waits for it
            self._start()

        loop = asyncio.get_running_loop()
        seconds = QUICK_SECONDS if job.rank < 2 else None
        loop.run_in_executor(self._threads, job.work, seconds).add_done_callback(done)
