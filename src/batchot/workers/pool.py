"""Workers: what they are, and a pool of them in processes of this machine."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import queue
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from batchot.workers.process import (
    ChildDied,
    ChildProcess,
    Late,
    compiled_once,
    end_after,
    end_me_first,
    own_stdout,
)

TRIES = 2
"""Processes that a task may end, or that may have too little memory for it."""
_GRACE_SECONDS = 5.0
_MAIN = "from batchot.workers.pool import serve; serve()"


class EngineError(RuntimeError):
    """Workers cannot be had or used; the message says why and what to do."""


@dataclass(frozen=True)
class Lost:
    """What is answered for a task that ended every worker that took it, or took too long."""

    tries: int  # workers that were lost with it
    reason: str  # what is known of the last one's end
    # a worker with its machine or alone, a process that died or had too little memory, or was ended as it was late
    kind: Literal["worker", "process", "memory", "time"] = "worker"

    def __str__(self) -> str:
        if self.kind == "worker":
            return f"the worker that had it was lost {self.tries} times, {self.reason}"
        if self.kind == "time":
            return self.reason
        died = "the process that had it died, " if self.kind == "process" else ""
        return f"{died}{self.reason} ({self.tries} tries)"


class Worker(Protocol):
    """What a worker does: made once on its machine, then called for each task, until its process is ended."""

    def __call__(self, task: Any, /) -> Any:
        """Do a task; what is raised ends the whole work."""


class Pool(Protocol):
    """Workers that are all made alike."""

    def run(self, tasks: Iterable[Any]) -> Generator[tuple[int, Any | Lost], None, None]:
        """Do tasks; the number of each with its answer is given as they are done, in any order."""


class Engine(Protocol):
    """Gives workers."""

    @property
    def workers(self) -> int:
        """How many there are to be."""

    def pool(
        self, make: Callable[[], Worker], *, shared: Sequence[Path] = (), gpu: bool = False
    ) -> AbstractContextManager[Pool]:
        """Start workers, and end them when the context is left, however it is left."""


def answer_of(do: Callable[[], Any]) -> bytes:
    """What comes of it as a message: (True, what is wanted) or (False, an error), pickled."""
    answer: tuple[bool, Any]
    try:
        answer = True, do()
    except Exception as error:  # as itself, so that its message is the user's
        answer = False, error
    return pickle.dumps(answer)


def serve() -> None:
    """In the child: make the worker that the first message names, then do tasks until the input ends."""
    replies = own_stdout()
    end_me_first()
    tasks = sys.stdin.buffer
    worker: Any = None
    time_limit: float | None = None

    def do() -> Any:
        nonlocal worker, time_limit
        if worker is not None:
            return worker(message)
        make, time_limit = message
        worker = make()

    while True:
        try:
            message = pickle.load(tasks)
        except EOFError:
            return
        end_after(None if time_limit is None else time_limit + _GRACE_SECONDS)
        answer = answer_of(do)
        end_after(None)
        try:
            replies.write(answer)
            replies.flush()
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(0)


class Respawned(ABC):
    """A process of its own for tasks, which is started anew where it dies or is late; subclasses talk to it."""

    def __init__(self, code: str, time_limit: float | None = None) -> None:
        self._code, self.time_limit = code, time_limit  # for one task, seconds; ``None``: none
        self._process: ChildProcess | None = None
        self._lock = threading.Lock()
        self.closed = False

    @abstractmethod
    def greet(self, process: ChildProcess) -> None:
        """Say to a process that has just been started what it is for, and wait until it is ready."""

    @abstractmethod
    def ask(self, process: ChildProcess, task: Any) -> Any:
        """Give it a task and wait for the answer; what it says has failed is raised."""

    def __call__(self, task: Any) -> Any | Lost:
        """Do a task; what takes the process along is tried once more."""
        for _ in range(TRIES):
            answer = self.attempt(task)
            if not isinstance(answer, Lost) or answer.kind == "time":
                return answer
        return replace(answer, tries=TRIES)

    def attempt(self, task: Any) -> Any | Lost:
        """Do a task, or say what the process came to."""
        process = self.start()
        try:
            return self.ask(process, task)
        except MemoryError as error:
            return Lost(1, str(error) or "there is not enough memory for it", "memory")
        except ChildDied as death:
            self.end()
            if self.closed:
                raise
            if isinstance(death, Late):
                return Lost(1, f"it took longer than {death.seconds:g} s", "time")
            return Lost(1, str(death), "process")
        except BaseException:  # an interruption, or the end of all work: nobody knows what the process is at
            self.end()
            raise

    @property
    def alive(self) -> bool:
        """Whether there is a process now."""
        process = self._process
        return process is not None and process.process.poll() is None

    def end(self) -> None:
        """End the process, from any thread; the next task starts another one."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def close(self) -> None:
        """End the process, from any thread, and start no other."""
        self.closed = True
        self.end()

    def start(self) -> ChildProcess:
        """The process, started where there is none."""
        if self.alive and (process := self._process) is not None:
            return process
        self.end()
        for tries in range(1, TRIES + 1):
            try:
                with compiled_once(self._code):
                    with self._lock:
                        if self.closed:
                            raise ChildDied("it was closed")
                        process = self._process = ChildProcess(self._code)
                    self.greet(process)
                return process
            except ChildDied as death:
                self.end()
                if self.closed:
                    raise
                if tries == TRIES:
                    raise EngineError(f"no process could be started: {death}") from death
            except BaseException:  # what it could not be made for
                self.end()
                raise
        raise AssertionError


class Apart(Respawned):
    """A worker whose tasks are done in a process of its own."""

    def __init__(self, make: Callable[[], Worker], time_limit: float | None = None) -> None:
        # the comment is what the list of processes shows
        super().__init__(f"{_MAIN}  # {getattr(make, 'func', make).__qualname__}", time_limit)
        self._setup = pickle.dumps((make, time_limit))

    def greet(self, process: ChildProcess) -> None:
        _ask(process, self._setup)

    def ask(self, process: ChildProcess, task: Any) -> Any:
        return _ask(process, pickle.dumps(task), self.time_limit)


def _ask(process: ChildProcess, message: bytes, seconds: float | None = None) -> Any:
    with process.answering(seconds):
        process.stdin.write(message)
        process.stdin.flush()
        fine, answer = pickle.load(process.stdout)
    if not fine:
        raise answer
    return answer


def run_on(
    workers: Sequence[Respawned], tasks: Sequence[Any]
) -> Generator[tuple[int, Any | Lost], None, None]:
    """Do tasks, a thread each worker; one that takes its process along is tried once more, last, and then lost.

    Whoever leaves early closes the workers.
    """
    left = deque((number, task, 1) for number, task in enumerate(tasks))
    results: queue.Queue[tuple[int, Any] | BaseException] = queue.Queue(4 * len(workers))
    idle: list[Respawned] = []
    short = threading.Event()  # of memory, perhaps: who has nothing to do makes room
    stopped = threading.Event()

    def put(result: tuple[int, Any] | BaseException) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                return results.put(result, timeout=0.2)

    def serve(worker: Respawned) -> None:
        try:
            while not stopped.is_set():
                try:
                    number, task, tries = left.popleft()
                except IndexError:
                    break
                answer = worker.attempt(task)
                if isinstance(answer, Lost) and answer.kind != "time":
                    if tries < TRIES:
                        left.append((number, task, tries + 1))
                        short.set()
                        for other in list(idle):
                            other.end()
                        continue
                    answer = replace(answer, tries=tries)
                put((number, answer))
        except BaseException as error:
            put(error)
        idle.append(worker)
        if short.is_set():
            worker.end()

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in workers]
    done = 0
    try:
        for thread in threads:
            thread.start()
        while done < len(tasks):
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            done += 1
            yield result
    finally:
        stopped.set()
        if done < len(tasks):
            for worker in workers:
                worker.close()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


class ProcessPool:
    """Workers in processes of this machine; see `Pool`. They stay for the next tasks."""

    def __init__(self, make: Callable[[], Worker], processes: int, time_limit: float | None = None) -> None:
        self._make, self._processes, self._time_limit = make, processes, time_limit
        self._workers: list[Apart] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they are at."""
        for worker in self._workers:
            worker.close()
        self._workers = []

    def run(self, tasks: Iterable[Any]) -> Generator[tuple[int, Any | Lost], None, None]:
        """Do tasks, see `run_on`."""
        tasks = list(tasks)
        n = min(len(tasks), self._processes)
        self._workers = [worker for worker in self._workers if not worker.closed]
        self._workers += [Apart(self._make, self._time_limit) for _ in range(len(self._workers), n)]
        return run_on(self._workers[:n], tasks)


_COMPUTING = ("numpy", "numba", "torch")


def this_build() -> dict[str, str]:
    """Give the versions that must agree on all machines for equal results."""
    libraries = {name: _version(name) for name in _COMPUTING}
    return {
        "python": platform.python_version(),
        "batchot": f"{_version('batchot')}, code {_code()}",
        **libraries,
    }


def difference(here: dict[str, str], there: dict[str, str]) -> str | None:
    """Say in words in what a worker's build differs; None where it does not."""
    differs = {name: value for name, value in here.items() if there.get(name) != value}
    found = [f"{name} {there.get(name, 'missing')}, not {value}" for name, value in differs.items()]
    return "; ".join(found) or None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _code() -> str:
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
