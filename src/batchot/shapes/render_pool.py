"""Processes that render shapes side by side, each of which may die or be stopped without harm."""

from __future__ import annotations

import pickle
import queue
import threading
import uuid
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from batchot.shapes.atomic import ViewCacheError
from batchot.shapes.child_process import ChildDied, ChildProcess, compiled_once
from batchot.shapes.render_worker import MAIN, Answer, Setup, Task
from batchot.shapes.view_settings import ViewSettings

TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """What became of a task at last."""

    task: Task
    status: Literal["rendered", "there", "unreadable", "shape", "time", "crash"]
    reason: str = ""
    notes: tuple[str, ...] = ()  # of the shape


class _Worker(ChildProcess):
    """One process that renders."""

    def __init__(self, settings: ViewSettings, parts: Path, time_limit: float | None) -> None:
        super().__init__(MAIN)
        self.temporary = parts / f"{uuid.uuid4().hex}.part"
        self.setup = Setup(settings, self.temporary, time_limit)

    def ask(self, message: Setup | Task) -> Answer:
        try:
            self.stdin.write(pickle.dumps(message))
            self.stdin.flush()
            answer: Answer = pickle.load(self.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise ChildDied(self.last_words()) from error
        return answer

    def close(self) -> None:
        super().close()
        self.temporary.unlink(missing_ok=True)


class _Pool:
    """The tasks that are left, and a thread for each worker that hands them out."""

    def __init__(
        self, tasks: Sequence[Task], settings: ViewSettings, parts: Path, time_limit: float | None
    ) -> None:
        self.settings, self.parts, self.time_limit = settings, parts, time_limit
        self.left: deque[tuple[Task, int]] = deque((task, 1) for task in tasks)
        self.results: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        self.workers: dict[int, _Worker] = {}
        self.lock = threading.Lock()
        self.stopped = False

    def serve(self) -> None:
        try:
            while True:
                try:
                    task, attempt = self.left.popleft()
                except IndexError:
                    return
                if (outcome := self.render(task, attempt)) is not None:
                    self.results.put(outcome)
                elif self.stopped:
                    return
        except BaseException as error:
            self.results.put(error)
        finally:
            self.end_worker()

    def render(self, task: Task, attempt: int) -> Outcome | None:
        """Render a shape; ``None`` where it is to be tried once more, or all is to stop."""
        worker = self.worker()
        if worker is None:
            return None
        late = threading.Event()

        def stop() -> None:
            late.set()
            worker.kill()

        timer = threading.Timer(self.time_limit, stop) if self.time_limit is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            answer = worker.ask(task)
        except ChildDied as death:
            self.end_worker()
            if self.stopped:
                return None
            if late.is_set():
                reason = f"{task.source.path}: it took longer than {self.time_limit:g} s"
                return Outcome(task, "time", reason)
            answer = Answer("memory", f"{task.source.path}: the process that rendered it died, {death}")
        finally:
            if timer is not None:
                timer.cancel()
        if answer.status == "disk":
            raise ViewCacheError(answer.reason)
        if answer.status == "memory":
            if attempt < TRIES:  # last, when the others have gone and there is more memory
                self.left.append((task, attempt + 1))
                return None
            return Outcome(task, "crash", f"{answer.reason} ({TRIES} tries)")
        assert answer.status != "ready"
        return Outcome(task, answer.status, answer.reason, answer.notes)

    def worker(self) -> _Worker | None:
        me = threading.get_ident()
        for last_try in (False, True):
            with self.lock:
                if self.stopped:
                    return None
                if me in self.workers:
                    return self.workers[me]
            try:
                with compiled_once(MAIN):
                    with self.lock:
                        if self.stopped:
                            return None
                        worker = _Worker(self.settings, self.parts, self.time_limit)
                        self.workers[me] = worker
                    worker.ask(worker.setup)
                return worker
            except ChildDied as death:
                self.end_worker()
                if last_try and not self.stopped:
                    raise ViewCacheError(f"no process that renders could be started: {death}") from death
        return None

    def end_worker(self) -> None:
        with self.lock:
            worker = self.workers.pop(threading.get_ident(), None)
        if worker is not None:
            worker.close()

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            self.left.clear()
            for worker in self.workers.values():
                worker.kill()


class Renderer:
    """Renders one shape after the other in a process of its own, which is started anew where it dies.

    Args:
        settings: from where and how they are seen.
        parts: folder for files that are being written.
        time_limit: for one shape, seconds; ``None``: none.
    """

    def __init__(self, settings: ViewSettings, parts: Path, time_limit: float | None) -> None:
        self._pool = _Pool((), settings, parts, time_limit)

    def __call__(self, task: Task) -> Outcome:
        """Render a shape.

        Raises:
            ViewCacheError: the disk is full or not writable, or no process can be started.
        """
        for attempt in range(1, TRIES + 1):
            if (outcome := self._pool.render(task, attempt)) is not None:
                return outcome
            self._pool.left.clear()  # it is tried once more here and now
        raise AssertionError

    def close(self) -> None:
        """End the process."""
        self._pool.stop()
        self._pool.end_worker()


def render_tasks(
    tasks: Sequence[Task],
    settings: ViewSettings,
    parts: Path,
    *,
    processes: int,
    time_limit: float | None,
) -> Generator[Outcome, None, None]:
    """Render shapes in processes of one thread each.

    A shape on which a process dies is tried once more after all others; one that takes longer than the limit
    is not. Closing the iterator, or an exception where it is used, stops all processes.

    Args:
        tasks: which.
        settings: from where and how they are seen.
        parts: folder for files that are being written.
        processes: how many.
        time_limit: for one shape, seconds; ``None``: none.

    Yields:
        What became of each task, as it is known.

    Raises:
        ViewCacheError: the disk is full or not writable, or no process can be started.
    """
    pool = _Pool(tasks, settings, parts, time_limit)
    threads = [threading.Thread(target=pool.serve, daemon=True) for _ in range(min(processes, len(tasks)))]
    try:
        for thread in threads:
            thread.start()
        for _ in tasks:
            result = pool.results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        pool.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
