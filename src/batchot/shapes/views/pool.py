"""Worker processes that render shapes; a shape that kills its worker is left out."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import uuid
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

from batchot.errors import ShapeWarning
from batchot.files import ViewCacheError
from batchot.shapes.child_process import ChildDied, ChildProcess, compiled_once
from batchot.shapes.shape import Mesh
from batchot.shapes.views.cache import is_whole, write_views
from batchot.shapes.views.content import FileState
from batchot.shapes.views.settings import ViewSettings, render_shape

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource

_GRACE_SECONDS = 5.0
MAIN = "from batchot.shapes.views.pool import main; main()"


@dataclass(frozen=True)
class Setup:
    """What a worker is told first."""

    settings: ViewSettings  # from where and how shapes are seen
    temporary: Path  # where a file is written before it gets its name
    time_limit: float | None = None  # for one shape, seconds; ``None``: none


@dataclass(frozen=True)
class Task:
    """A shape to render."""

    source: ShapeSource  # where it lies
    target: Path  # the file of its views
    state: FileState  # of its file when its content was looked at


@dataclass(frozen=True)
class Answer:
    """What became of a task: rendered, found to be there already, or why not."""

    status: Literal["ready", "rendered", "there", "unreadable", "shape", "memory", "disk"]
    reason: str = ""
    notes: tuple[str, ...] = ()  # of the shape


def main() -> None:
    """Serve until the input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get among the answers
    _offer_to_be_killed()
    warnings.simplefilter("ignore", ShapeWarning)  # they go with the answers
    tasks = sys.stdin.buffer
    setup: Setup = pickle.load(tasks)
    _warm_up(setup.settings)
    _reply(replies, Answer("ready"))
    while True:
        try:
            task: Task = pickle.load(tasks)
        except EOFError:
            return
        _end_after(None if setup.time_limit is None else setup.time_limit + _GRACE_SECONDS)
        answer = do_task(task, setup)
        _end_after(None)
        _reply(replies, answer)


def do_task(task: Task, setup: Setup) -> Answer:
    """Render one shape into its file."""
    try:
        if is_whole(task.target, setup.settings.view_shape):
            return Answer("there")  # another process that renders the same collection was faster
        shape = task.source.load(setup.settings.up)
        views = render_shape(shape, setup.settings)
        if FileState.of(task.source.path) != task.state:
            return Answer("unreadable", f"{task.source.path} was changed while it was read; try again")
        write_views(task.target, views, setup.temporary)
    except ViewCacheError as error:
        return Answer("disk", str(error))
    except MemoryError:
        return Answer("memory", f"{task.source.path}: there is not enough memory for it")
    except OSError as error:
        return Answer("unreadable", f"{task.source.path}: {error.strerror or error}")
    except Exception as error:  # whatever a damaged file makes a reader do, the others go on
        text = str(error) or type(error).__name__
        memory = isinstance(error.__cause__, MemoryError)
        return Answer(
            "memory" if memory else "shape",
            text if str(task.source.path) in text else f"{task.source.path}: {text}",
        )
    return Answer("rendered", notes=shape.notes)


def _warm_up(settings: ViewSettings) -> None:
    # Compiles what is not compiled yet, so that it is not counted in the time of the first shape.
    triangle = Mesh(np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]]), np.array([[0, 1, 2]]))
    render_shape(triangle, settings)


def _offer_to_be_killed() -> None:
    # When memory runs out, the kernel should kill a worker and not the process that schedules the work.
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def _end_after(seconds: float | None) -> None:
    # Whoever waits for this process ends it when the limit is over. Where nobody waits any more the kernel does.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds or 0.0)


def _reply(replies: IO[bytes], answer: Answer) -> None:
    try:
        pickle.dump(answer, replies)
        replies.flush()
    except BrokenPipeError:  # nobody waits for it any more
        os._exit(0)


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
    """Renders one shape after the other in a process of its own, which is started anew where it dies."""

    def __init__(self, settings: ViewSettings, parts: Path, time_limit: float | None) -> None:
        self._pool = _Pool((), settings, parts, time_limit)

    def __call__(self, task: Task) -> Outcome:
        """Render a shape."""
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
    """Render shapes in processes of one thread each."""
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
