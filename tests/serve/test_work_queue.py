"""The queue before the processes that read files, with work that takes as long as the test says."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable

import pytest

from batchot.search.records import QueryRefused
from batchot.serve import work_queue
from batchot.serve.door import Shares
from batchot.serve.work_queue import SECONDS, Busy, WorkQueue

LARGE, SMALL, DRAWING, PHOTO = b"v 0 0 0\n" * 100_000, b"v 0 0 0\n", b"\x89PNG\r\n", b"\xff\xd8\xff"


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), 0

    def __call__(self, seconds: float | None) -> str:
        self.begun += 1
        assert self.go.wait(20)
        return "done"


class Steps:
    """Questions to a queue with one thread for all kinds, of which the test ends one after another."""

    def __init__(self, clock: Clock, wait_seconds: float = 1000.0) -> None:
        self.clock, self.order = clock, list[str]()
        self.queue = WorkQueue(1, wait_seconds, clock)
        self.queue._next = lambda ordered, running, slow: ordered[0] if ordered and not running else None  # type: ignore[method-assign]
        self._go: dict[str, threading.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, client: str, data: bytes) -> None:
        go = self._go[name] = threading.Event()

        def work(seconds: float | None) -> None:
            self.order.append(name)
            assert go.wait(20)

        self.tasks[name] = asyncio.create_task(self.queue.run(client, data, work))
        await asyncio.sleep(0)

    async def end(self, seconds: float) -> None:
        """The running one is done after so many seconds."""
        name = await self._running()
        self.clock.now += seconds
        self._go[name].set()
        await self.tasks[name]

    async def _running(self) -> str:
        while len(self.order) < sum(task.done() for task in self.tasks.values()) + 1:
            await asyncio.sleep(0.001)
        return self.order[-1]

    async def end_all(self, seconds: float = 1.0) -> list[str]:
        while not all(task.done() for task in self.tasks.values()):
            await self.end(seconds)
        self.queue.close()
        return self.order


def test_a_client_holds_at_most_what_is_left_free() -> None:
    shares = Shares(90)
    assert [shares.take(client, 45) for client in ("a", "a")] == [True, False]
    assert shares.take("b", 22) and not shares.take("b", 2) and shares.take("c", 11)
    shares.give("a", 45)
    assert shares.used == 33 and shares.take("b", 1) and shares.held["a"] == 0


def test_what_is_quick_never_waits_for_what_is_not() -> None:
    async def test() -> None:
        queue, held = WorkQueue(2, 1000.0), Held()
        slow = [asyncio.create_task(queue.run("a", LARGE, held)) for _ in range(12)]
        await asyncio.sleep(0.1)
        assert held.begun == 2 and queue.waiting == 10
        for data in (DRAWING, PHOTO, SMALL):  # of the same client and of another
            for client in ("a", "b"):
                assert await asyncio.wait_for(queue.run(client, data, lambda s: "quick"), 2) == "quick"
        held.go.set()
        assert await asyncio.gather(*slow) == ["done"] * 12
        queue.close()

    run(test)


def test_a_question_that_would_wait_too_long_is_refused_and_told_how_long() -> None:
    async def test() -> None:
        queue, held = WorkQueue(1, 10.0, Clock()), Held()
        tasks = [asyncio.create_task(queue.run("a", LARGE, held)) for _ in range(20)]
        await asyncio.sleep(0.1)
        # one runs for 6 s, one waits for these 6 s, the third would wait 12
        assert sum(not task.done() for task in tasks) == 2
        assert queue.expected_wait("a", "large") == 2 * SECONDS["large"]
        with pytest.raises(Busy) as busy:
            await queue.run("a", LARGE, held)
        assert busy.value.retry_after == 2 * SECONDS["large"]
        with pytest.raises(Busy):
            queue.check("a", len(LARGE) * 2)  # before it has been sent
        queue.check("a", len(DRAWING))
        # of another client one is let in between, and a drawing has a thread to itself
        assert (
            queue.expected_wait("b", "large") == SECONDS["large"] and queue.expected_wait("a", "drawing") == 0
        )
        held.go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert queue.expected_wait("a", "large") == 0
        queue.close()

    run(test)


def test_who_was_let_in_waits_at_most_twice_as_long_as_promised() -> None:
    async def test() -> None:
        queue, held = WorkQueue(1, 0.3, Clock()), Held()
        queue.seconds["large"] = 0.1  # as was thought
        tasks = [asyncio.create_task(queue.run("a", LARGE, held)) for _ in range(3)]
        further = asyncio.create_task(queue.run("a", LARGE, held, admitted=True))
        done, _ = await asyncio.wait(tasks, timeout=0.4)
        assert not done and held.begun == 1
        done, _ = await asyncio.wait(tasks, timeout=0.6)
        assert done == set(tasks[1:]) and all(isinstance(task.exception(), Busy) for task in done)
        assert queue.waiting == 1 and not further.done()
        held.go.set()
        assert await asyncio.gather(tasks[0], further) == ["done", "done"]
        queue.close()

    run(test)


def test_the_queue_holds_as_many_as_are_answered_in_time_whoever_asks() -> None:
    async def test() -> None:
        queue, held = WorkQueue(1, 10.0, Clock()), Held()
        tasks = [asyncio.create_task(queue.run(f"client {k}", DRAWING, held)) for k in range(300)]
        await asyncio.sleep(0.1)
        waiting = [task for task in tasks if not task.done()]
        # two run at once, 0.2 s each
        assert abs(len(waiting) - 2 * (10.0 / SECONDS["drawing"] + 1)) <= 2
        assert queue.expected_wait("new", "drawing") > 10.0
        for task in waiting[2:]:
            task.cancel()
        await asyncio.sleep(0.05)
        assert queue.waiting == 0 and queue.expected_wait("new", "drawing") <= SECONDS["drawing"]
        held.go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        queue.close()

    run(test)


def test_what_kinds_take_is_learnt() -> None:
    async def test() -> None:
        clock = Clock()
        steps = Steps(clock)
        for k in range(40):
            await steps.ask(f"{k}", f"{k}", DRAWING)
            await steps.end(2.0)
        assert steps.queue.seconds["drawing"] == pytest.approx(2.0 - 1.8 * 0.9**40)
        assert steps.queue.seconds["shape"] == SECONDS["shape"]
        await steps.ask("a", "a", DRAWING)
        clock.now += 0.5
        assert steps.queue.expected_wait("b", "drawing") == pytest.approx(
            steps.queue.seconds["drawing"] - 0.5
        )
        clock.now += 50  # longer than expected: it is not thought to end at once
        assert steps.queue.expected_wait("b", "drawing") == pytest.approx(steps.queue.seconds["drawing"] / 4)
        await steps.end(0.0)

        def refuse(seconds: float | None) -> None:
            raise QueryRefused("blank", "blank")

        before = steps.queue.seconds["photo"]
        with pytest.raises(QueryRefused):
            await steps.queue.run("a", PHOTO, refuse)
        assert (
            steps.queue.seconds["photo"] == before
        )  # nobody makes the queue longer by what is refused at once
        steps.queue.close()

    run(test)


def test_short_ones_pass_long_ones_but_not_for_ever() -> None:
    async def test() -> None:
        clock = Clock()
        steps = Steps(clock)
        await steps.ask("first", "z", PHOTO)
        await steps.ask("large", "a", LARGE)
        for k in range(40):
            clock.now += 1.0
            await steps.ask(f"drawing {k}", f"client {k}", DRAWING)
        order = await steps.end_all(0.1)
        assert order[0] == "first" and order[1] == "drawing 0"
        # 3 times its own 6 s, less those of a drawing: what comes later waits behind it
        place = order.index("large")
        assert place == 1 + math.floor(3 * (SECONDS["large"] - SECONDS["drawing"]))
        assert order[place + 1 :] == [f"drawing {k}" for k in range(place - 1, 40)]

    run(test)


def test_nothing_waits_for_what_comes_half_a_minute_later() -> None:
    async def test() -> None:
        clock = Clock()
        steps = Steps(clock)
        steps.queue.seconds["large"] = 100.0
        await steps.ask("first", "a", DRAWING)
        for k in range(3):
            await steps.ask(f"large {k}", "a", LARGE)
        clock.now += work_queue._MOST_PATIENCE + 1
        await steps.ask("late", "b", DRAWING)
        assert (await steps.end_all())[-1] == "late"

    run(test)


def test_who_leaves_leaves_the_queue() -> None:
    async def test() -> None:
        queue, held = WorkQueue(1, 1000.0), Held()
        tasks = [asyncio.create_task(queue.run("a", LARGE, held)) for _ in range(6)]
        await asyncio.sleep(0.1)
        for task in tasks[1:5]:
            task.cancel()
        await asyncio.sleep(0.1)
        assert queue.waiting == 1
        held.go.set()
        assert await tasks[5] == "done" and await tasks[0] == "done"
        await asyncio.sleep(0.1)
        assert held.begun == 2 and queue.running == 0  # what was left was never begun
        queue.close()

    run(test)


def test_clients_take_turns() -> None:
    async def test() -> None:
        steps = Steps(Clock())
        for k in range(6):
            await steps.ask(f"a{k}", "a", LARGE)
        for k in range(2):
            await steps.ask(f"b{k}", "b", LARGE)
        assert await steps.end_all() == ["a0", "b0", "a1", "b1", "a2", "a3", "a4", "a5"]

    run(test)


def test_a_client_that_had_much_waits_behind_one_that_had_little() -> None:
    async def test() -> None:
        clock = Clock()
        steps = Steps(clock)
        for k in range(3):
            await steps.ask(f"a{k}", "a", LARGE)
            await steps.end(1.0)
        await steps.ask("running", "c", DRAWING)
        await steps.ask("a", "a", SMALL)
        clock.now += 1.0
        await steps.ask("b", "b", SMALL)
        assert (await steps.end_all())[-2:] == ["b", "a"]

    run(test)


def test_a_further_file_of_a_question_is_not_refused() -> None:
    async def test() -> None:
        queue, held = WorkQueue(1, 0.0, Clock()), Held()
        first = asyncio.create_task(queue.run("a", LARGE, held))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy):
            await queue.run("a", LARGE, held)
        second = asyncio.create_task(queue.run("a", LARGE, held, admitted=True))
        await asyncio.sleep(0.05)
        held.go.set()
        assert await asyncio.gather(first, second) == ["done"] * 2
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
