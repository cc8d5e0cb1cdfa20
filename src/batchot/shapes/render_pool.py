"""Processes that render shapes side by side, each of which may die or be stopped without harm."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from batchot.shapes.atomic import ViewCacheError
from batchot.shapes.render_worker import MAIN, Answer, Setup, Task
from batchot.shapes.view_settings import ViewSettings

TRIES = 2
_ONE_THREAD = ("OMP", "NUMBA", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")


@dataclass(frozen=True)
class Outcome:
    """What became of a task at last."""

    task: Task
    status: Literal["rendered", "there", "unreadable", "shape", "time", "crash"]
    reason: str = ""


class _Died(Exception):
    """The process is no more."""


class _Worker:
    """One process; it is stopped by ``kill`` from any thread."""

    def __init__(self, settings: ViewSettings, parts: Path, time_limit: float | None) -> None:
        self.temporary = parts / f"{uuid.uuid4().hex}.part"
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env=worker_environment(),
            # A group of its own: Ctrl-C in the terminal reaches us alone, and we decide.
            process_group=0 if os.name == "posix" else None,
        )
        self.setup = Setup(settings, self.temporary, time_limit)

    def ask(self, message: Setup | Task) -> Answer:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(pickle.dumps(message))
            self.process.stdin.flush()
            answer: Answer = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise _Died(self._last_words()) from error
        return answer

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # what was still to be sent to it
                continue
        self.temporary.unlink(missing_ok=True)

    def _last_words(self) -> str:
        self.process.kill()
        status = self.process.wait()
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").strip().splitlines()
        if status < 0:
            name = signal.Signals(-status).name
            return f"it was ended by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
        return lines[-1] if lines else f"it ended with status {status}"


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
        except _Died as death:
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
        return Outcome(task, answer.status, answer.reason)

    def worker(self) -> _Worker | None:
        me = threading.get_ident()
        for last_try in (False, True):
            with self.lock:
                if self.stopped:
                    return None
                if me in self.workers:
                    return self.workers[me]
                self.workers[me] = worker = _Worker(self.settings, self.parts, self.time_limit)
            try:
                worker.ask(worker.setup)
                return worker
            except _Died as death:
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


def worker_environment() -> dict[str, str]:
    """The environment of a process that works for this one: it finds what this one can import, and has one thread."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    threads = {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    return {**os.environ, **threads, "PYTHONPATH": paths}
