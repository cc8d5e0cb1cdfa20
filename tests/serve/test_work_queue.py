"""The queue before the processes that read files, with work that takes as long as the test says."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from batchot.search.records import QueryRefused
from batchot.serve import work_queue
from batchot.serve.door import Shares
from batchot.serve.work_queue import Busy, WorkQueue

LARGE, SMALL, DRAWING = b"v 0 0 0\n" * 100_000, b"v 0 0 0\n", b"\x89PNG\r\n"


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


class Held:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), 0

    def __call__(self, seconds: float | None) -> str:
        self.begun += 1
        assert self.go.wait(20)
        return "done"


def test_a_client_holds_at_most_what_is_left_free() -> None:
    shares = Shares(90)
    assert [shares.take(client, 45) for client in ("a", "a")] == [True, False]
    assert shares.take("b", 22) and not shares.take("b", 2) and shares.take("c", 11)
    shares.give("a", 45)
    assert shares.used == 33 and shares.take("b", 1) and shares.held["a"] == 0


def test_what_is_quick_never_waits_for_what_is_not() -> None:
    async def test() -> None:
        queue, held = WorkQueue(2), Held()
        slow = [asyncio.create_task(queue.run("a", LARGE, held)) for _ in range(12)]
        await asyncio.sleep(0.1)
        assert held.begun == 2 and queue.waiting == 10
        for data in (DRAWING, SMALL):  # of the same client and of another
            for client in ("a", "b"):
                assert await asyncio.wait_for(queue.run(client, data, lambda s: "quick"), 2) == "quick"
        held.go.set()
        assert await asyncio.gather(*slow) == ["done"] * 12
        queue.close()

    run(test)


def test_a_full_queue_refuses_early_and_says_when_to_come_again() -> None:
    async def test() -> None:
        queue, held = WorkQueue(1, places=8), Held()
        tasks = [asyncio.create_task(queue.run("a", LARGE, held)) for _ in range(20)]
        await asyncio.sleep(0.1)
        refused = [task for task in tasks if task.done()]
        assert len(refused) == 20 - 1 - 4  # one is read, four wait: half of the places
        with pytest.raises(Busy) as busy:
            queue.check("a")
        assert 1 <= busy.value.retry_after <= 120
        queue.check("b")  # there is a place for others
        held.go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        queue.check("a")
        queue.close()

    run(test)


def test_who_leaves_leaves_the_queue() -> None:
    async def test() -> None:
        queue, held = WorkQueue(1), Held()
        tasks = [asyncio.create_task(queue.run("a", LARGE, held)) for _ in range(6)]
        await asyncio.sleep(0.1)
        for task in tasks[1:5]:
            task.cancel()
        await asyncio.sleep(0.1)
        assert queue.waiting == 1 and queue.places.used == 1
        held.go.set()
        assert await tasks[5] == "done" and await tasks[0] == "done"
        await asyncio.sleep(0.1)
        assert held.begun == 2 and queue.running == 0  # what was left was never begun
        queue.close()

    run(test)


def test_clients_take_turns() -> None:
    async def test() -> None:
        queue, order = WorkQueue(1), []

        def work(name: str) -> Callable[[float | None], None]:
            return lambda seconds: (time.sleep(0.01), order.append(name))[1]

        tasks = [asyncio.create_task(queue.run("a", LARGE, work("a"))) for _ in range(6)]
        tasks += [asyncio.create_task(queue.run("b", LARGE, work("b"))) for _ in range(2)]
        await asyncio.gather(*tasks)
        assert order[:4] in (["a", "b", "a", "b"], ["b", "a", "b", "a"]) and order[4:] == ["a"] * 4
        queue.close()

    run(test)


def test_a_small_file_that_is_slow_waits_with_the_slow_ones() -> None:
    async def test() -> None:
        queue, given = WorkQueue(1), []

        def work(seconds: float | None) -> str:
            given.append(seconds)
            if seconds is not None:
                raise QueryRefused("a.glb takes longer than 3 s", "time")
            return "done"

        assert await queue.run("a", SMALL, work) == "done"
        assert given == [work_queue.QUICK_SECONDS, None]
        assert await queue.run("a", SMALL, work) == "done"
        assert given == [work_queue.QUICK_SECONDS, None, None]  # the client is known for it, for a while
        assert await queue.run("a", DRAWING, lambda seconds: seconds) == work_queue.QUICK_SECONDS
        with pytest.raises(QueryRefused):
            await queue.run("b", LARGE, lambda seconds: work(1.0))
        queue.close()

    run(test)
