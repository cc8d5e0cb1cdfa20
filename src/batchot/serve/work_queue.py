"""The queue before the processes that read files: bounded by time, fair, and quick for what is quick."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from batchot.search.records import QueryRefused

T = TypeVar("T")
Kind = Literal["drawing", "photo", "shape", "large"]
WAIT_SECONDS = 10.0
"""That a question may be expected to wait; one that would wait longer is refused at once."""
QUICK_SECONDS = 3.0
"""That a file may take which is thought to be quick; then it waits with the slow ones."""
SECONDS: dict[Kind, float] = {"drawing": 0.2, "photo": 0.6, "shape": 1.5, "large": 6.0}
"""That a file of a kind is thought to take, until some were measured."""
_QUICK_PICTURE, _QUICK_SHAPE = 1 << 20, 256 << 10  # bytes
_LEAST_SECONDS, _WEIGHT = 0.05, 0.1  # of an estimate, and of a new measurement in it
_LONGEST = 2.0  # times the wait that may be expected: who has waited so long is told to come again
_PATIENCE = 3.0  # a file lets pass what came within so many times its own seconds
_MOST_PATIENCE = 30.0  # but nothing that came later than this: none starves
_SLOW_FOR = 60.0  # seconds for which the shapes of a client count as slow after one was
_FORGET = 10.0  # seconds in which half of what a client has used is forgotten
_MOST_CLIENTS = 1000  # that are remembered
_PHOTO = b"\xff\xd8\xff"  # JPEG: few draw into it, and a photo is cleaned before it is taken
_PICTURES = (b"\x89PNG", _PHOTO, b"GIF8", b"BM", b"RIFF")


class Busy(Exception):
    """A question would wait too long."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the server has much to do")
        self.retry_after = retry_after


@dataclass(eq=False)
class _Job(Generic[T]):
    client: str
    kind: Kind
    since: float
    work: Callable[[float | None], T]  # told how many seconds it may take
    result: asyncio.Future[T] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    begun: float = 0.0


class WorkQueue:
    """Runs work in threads, for each of which the sandbox has a process.

    Next is the file with the least of: when it came, plus a few times the seconds that it and those of its client
    before it are expected to take. Short ones pass long ones for a while, and a client with many files lets others in
    between.
    """

    def __init__(
        self, workers: int, wait_seconds: float = WAIT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.workers, self.wait_seconds = workers, wait_seconds
        self.seconds = dict(SECONDS)  # that a file of a kind takes, by those that were measured
        self._clock = clock
        self._threads = ThreadPoolExecutor(workers + 1, thread_name_prefix="read")
        self._waiting: list[_Job[Any]] = []
        self._running: list[_Job[Any]] = []
        self._used: dict[str, tuple[float, float]] = {}  # seconds that a client had, and when that was
        self._slow_until: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """How much waits."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How much is being worked on."""
        return len(self._running)

    def check(self, client: str, n: int = 0) -> None:
        """Refuse a client that would wait too long, before its file of n bytes has arrived: it may be any quick one."""
        self._admit(client, "drawing" if n <= _QUICK_PICTURE else "large")

    def expected_wait(self, client: str, kind: Kind) -> float:
        """Give the seconds that a file would wait, were it to come now."""
        now = self._clock()
        ends = []  # of what runs, and which of it is slow
        for job in self._running:
            left = max(self.seconds[job.kind] - (now - job.begun), self.seconds[job.kind] / 4)
            ends.append((left, job.kind == "large"))
        heapq.heapify(ends)
        slow, passed = sum(large for _, large in ends), 0.0
        new = _Job(client, kind, now, lambda seconds: None, result=None)  # type: ignore[arg-type]
        waiting = self._in_order([*self._waiting, new], now)
        while True:
            following = self._next(waiting, len(ends), slow)
            if following is new:
                return passed
            if following is None:
                passed, large = heapq.heappop(ends)
                slow -= large
            else:
                waiting.remove(following)
                heapq.heappush(ends, (passed + self.seconds[following.kind], following.kind == "large"))
                slow += following.kind == "large"

    async def run(
        self, client: str, data: bytes, work: Callable[[float | None], T], *, admitted: bool = False
    ) -> T:
        """Do work when it is its turn; cancel it to leave; a further file of an admitted question is not refused."""
        kind = self._kind(client, data)
        if not admitted:
            self._admit(client, kind)
        longest = None if admitted else _LONGEST * self.wait_seconds
        try:
            return await self._wait(client, kind, work, longest)
        except QueryRefused as error:
            if kind == "large" or error.reason != "time":
                raise
            self._slow_until[client] = self._clock() + _SLOW_FOR
            return await self._wait(client, "large", work, longest)

    def close(self) -> None:
        """Begin nothing any more."""
        for job in self._waiting:
            job.result.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admit(self, client: str, kind: Kind) -> None:
        wait = self.expected_wait(client, kind)
        if wait > self.wait_seconds:
            raise Busy(min(120, math.ceil(wait)))

    def _kind(self, client: str, data: bytes) -> Kind:
        if data.startswith(_PICTURES):
            if len(data) > _QUICK_PICTURE:
                return "large"
            return "photo" if data.startswith(_PHOTO) else "drawing"
        slow = self._slow_until.get(client, 0.0) > self._clock()
        return "shape" if len(data) <= _QUICK_SHAPE and not slow else "large"

    async def _wait(
        self, client: str, kind: Kind, work: Callable[[float | None], T], longest: float | None
    ) -> T:
        job = _Job(client, kind, self._clock(), work)
        self._waiting.append(job)
        self._start()
        try:
            if job in self._waiting:
                await asyncio.wait([job.result], timeout=longest)
            if (
                job in self._waiting and not job.result.done()
            ):  # a sudden load: what was measured came too late
                raise Busy(min(120, math.ceil(self.expected_wait(client, kind))))
            return await job.result
        finally:
            if job in self._waiting:  # nobody waits for it any more
                self._waiting.remove(job)

    def _in_order(self, jobs: list[_Job[Any]], now: float) -> list[_Job[Any]]:
        """Waiting files as they would be begun, were all threads free for all of them."""
        before: dict[str, float] = defaultdict(float)
        turns: list[tuple[float, int, _Job[Any]]] = []
        for job in sorted(jobs, key=lambda job: job.since + _PATIENCE * self.seconds[job.kind]):
            before[job.client] += self.seconds[job.kind]
            patience = _PATIENCE * (before[job.client] + self._used_by(job.client, now))
            turns.append((job.since + min(patience, _MOST_PATIENCE), len(turns), job))
        return [job for *_, job in sorted(turns)]

    def _used_by(self, client: str, now: float) -> float:
        seconds, when = self._used.get(client, (0.0, now))
        return float(seconds * 0.5 ** ((now - when) / _FORGET))

    def _next(self, ordered: list[_Job[Any]], running: int, slow: int) -> _Job[Any] | None:
        if running > self.workers:
            return None
        # one thread is left to what is quick
        return next((job for job in ordered if job.kind != "large" or slow < self.workers), None)

    def _start(self) -> None:
        """Begin as much as there is room for."""
        while self._waiting:
            slow = sum(job.kind == "large" for job in self._running)
            job = self._next(self._in_order(self._waiting, self._clock()), self.running, slow)
            if job is None:
                return
            self._waiting.remove(job)
            self._begin(job)

    def _begin(self, job: _Job[Any]) -> None:
        job.begun = now = self._clock()
        self._running.append(job)
        self._used[job.client] = (self._used_by(job.client, now) + self.seconds[job.kind], now)
        if len(self._used) > _MOST_CLIENTS:  # of clients that are long gone
            self._used = dict(sorted(self._used.items(), key=lambda item: item[1][1])[-_MOST_CLIENTS // 2 :])
            self._slow_until = {client: t for client, t in self._slow_until.items() if t > now}

        def done(future: asyncio.Future[Any]) -> None:
            self._running.remove(job)
            error = None if future.cancelled() else future.exception()
            took, expected = self._clock() - job.begun, self.seconds[job.kind]
            if error is None or took > expected:  # what is refused at once says nothing of the others
                self.seconds[job.kind] = max(_LEAST_SECONDS, expected + _WEIGHT * (took - expected))
            if not job.result.done():
                if future.cancelled():
                    job.result.cancel()
                elif error is not None:
                    job.result.set_exception(error)
                else:
                    job.result.set_result(future.result())
            self._start()

        loop = asyncio.get_running_loop()
        seconds = None if job.kind == "large" else QUICK_SECONDS
        loop.run_in_executor(self._threads, job.work, seconds).add_done_callback(done)
