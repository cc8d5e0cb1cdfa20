"""Processes in which files are read, each of which may die or be stopped without harm."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np

from batchot.search.prepare import Prepared, What, read_frame, write_frame
from batchot.search.query_kind import shown_name
from batchot.search.records import QueryRefused, Reason, Unavailable, plain
from batchot.search.sandbox_worker import MAIN
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource
from batchot.towers.spec import Inputs
from batchot.workers.pool import TRIES
from batchot.workers.process import ChildDied, ChildProcess, Late, compiled_once, usable_cores

_MOST_ANSWER = 1 << 30
_START_SECONDS = 300.0  # the first start on a machine compiles readers and renderer


@dataclass(frozen=True)
class Limits:
    """What a file may cost."""

    time: float = 20.0  # seconds
    memory: int = 1 << 30  # bytes beyond what a process has when it starts
    bytes: int = 64 << 20  # of the file
    faces: int = 2_000_000  # triangles, or points, of a shape


FILE_LIMITS = Limits(time=300.0, memory=8 << 30, bytes=1 << 30, faces=10_000_000)
"""For the user's own files."""


class _Worker(ChildProcess):
    """One process that reads files."""

    def __init__(self, inputs: Inputs, limits: Limits, files: bool) -> None:
        super().__init__(MAIN)
        setup = {
            "inputs": inputs.to_json(),
            "time_limit": limits.time,
            "memory_limit": limits.memory,
            "max_bytes": limits.bytes,
            "max_faces": limits.faces,
            "files": files,
        }
        answer, _ = self.ask(setup, (), _START_SECONDS)
        if answer.get("status") != "ready":
            raise ChildDied("it did not start")

    def ask(
        self, task: dict[str, Any], blobs: Sequence[bytes], seconds: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Give it a task and wait for the answer."""
        with self.answering(seconds):
            write_frame(self.stdin, task, blobs)
            return read_frame(self.stdout, _MOST_ANSWER)


class Sandbox:
    """Reads files in processes of their own, with limits on time, memory and size."""

    def __init__(
        self,
        inputs: Inputs,
        *,
        processes: int | None = None,
        limits: Limits | None = None,
        files: bool = False,
    ) -> None:
        self.inputs = inputs
        self.limits = limits or (FILE_LIMITS if files else Limits())
        self.processes = processes or usable_cores()
        self.files = files
        self._free = threading.Semaphore(self.processes)
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they are at."""
        with self._lock:
            self._closed = True
            workers, self._all = list(self._all), set()
        for worker in workers:
            worker.close()

    def warm_up(self) -> None:
        """Start all processes now, so that the first queries need not wait."""
        workers = [self._take() for _ in range(self.processes)]
        for worker in workers:
            self._give(worker)

    def prepare_bytes(
        self,
        data: bytes,
        name: str = "",
        what: What = "any",
        *,
        up: Up = "auto",
        tolerance: float | None = None,
        thumbnail: bool = False,
        preview: bool = False,
        seconds: float | None = None,
    ) -> Prepared:
        """Make a query ready; many threads may ask at once."""
        shown = shown_name(name)
        if len(data) > self.limits.bytes:
            raise QueryRefused(
                f"{shown} has {len(data):,} bytes, the limit is {self.limits.bytes:,}; simplify or shrink it",
                "size",
            )
        task = {
            "name": name[:500],
            "what": what,
            "up": up,
            "tolerance": tolerance,
            "thumbnail": thumbnail,
            "preview": preview,
        }
        return self._prepare(task, (data,), shown, seconds)

    def prepare_sources(
        self, sources: Sequence[ShapeSource], *, thumbnail: bool = True, preview: bool = True
    ) -> Iterator[tuple[ShapeSource, Prepared | QueryRefused]]:
        """Make shapes of the user's own disk ready, in parallel."""
        if not self.files:
            raise ValueError("this sandbox takes no paths; make it with files=True")
        left = iter(sources)
        done: queue.Queue[tuple[ShapeSource, Prepared | QueryRefused] | BaseException | None] = queue.Queue(
            4 * self.processes
        )
        lock, stopped = threading.Lock(), threading.Event()

        def put(item: tuple[ShapeSource, Prepared | QueryRefused] | BaseException | None) -> None:
            while not stopped.is_set():
                try:
                    return done.put(item, timeout=0.2)
                except queue.Full:
                    continue

        def serve() -> None:
            try:
                while not stopped.is_set():
                    with lock:
                        source = next(left, None)
                    if source is None:
                        break
                    put((source, self._prepare_source(source, thumbnail, preview)))
            except BaseException as error:
                put(error)
            finally:
                put(None)

        threads = [
            threading.Thread(target=serve, daemon=True) for _ in range(min(self.processes, len(sources)))
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                item = done.get()
                if item is None:
                    running -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            stopped.set()

    def _prepare_source(self, source: ShapeSource, thumbnail: bool, preview: bool) -> Prepared | QueryRefused:
        task = {
            "name": source.name,
            "path": str(source.path),
            "member": source.member,
            "up": source.up,
            "tolerance": source.tolerance,
            "thumbnail": thumbnail,
            "preview": preview,
        }
        try:
            return self._prepare(task, (), source.location)
        except QueryRefused as error:
            return error

    def _prepare(
        self, task: dict[str, Any], blobs: Sequence[bytes], shown: str, seconds: float | None = None
    ) -> Prepared:
        seconds = seconds or self.limits.time
        for attempt in range(1, TRIES + 1):
            worker = self._take()
            try:
                answer, parts = worker.ask(task, blobs, seconds)
            except Late:
                self._drop(worker)
                raise QueryRefused(f"{shown} takes longer than {seconds:g} s; simplify it", "time") from None
            except ChildDied as death:
                self._drop(worker)
                if self._closed:
                    raise Unavailable("the search was closed while a file was read") from death
                if attempt == TRIES:
                    raise QueryRefused(
                        f"{shown} cannot be read: it brings its reader down ({plain(str(death))}); repair it, or save "
                        "it in another format",
                        "damaged",
                    ) from death
                continue
            except BaseException:  # an interruption: nobody knows what the process is at
                self._drop(worker)
                raise
            if answer.get("status") == "memory":
                self._drop(worker)
            else:
                self._give(worker)
            return self._checked(answer, parts, shown)
        raise AssertionError

    def _checked(self, answer: dict[str, Any], parts: list[bytes], shown: str) -> Prepared:
        """The answer as what it must be, whoever wrote it."""
        for reason in get_args(Reason):
            if answer.get("status") == reason:
                raise QueryRefused(str(answer.get("message", shown))[:2000], reason)
        try:
            what = answer["what"]
            expected = {"drawing": self.inputs.drawing, "photo": self.inputs.photo}.get(
                what, self.inputs.shape
            )
            shape, dtype = tuple(answer["shape"]), np.dtype(str(answer["dtype"]))
            assert expected is not None and shape == expected.sample_shape and dtype in (np.uint8, np.float32)
            sample = np.frombuffer(parts[0], dtype).reshape(shape)
            size = tuple(float(x) for x in answer["size"])
            assert len(size) == 3 and all(math.isfinite(x) for x in size) and np.isfinite(sample).all()
            assert what in ("shape", "drawing", "photo") and answer["kind"] in ("mesh", "cloud", None)
            return Prepared(
                what,
                sample,
                str(answer["content"]),
                answer["kind"],
                int(answer["faces"]),
                int(answer["vertices"]),
                (size[0], size[1], size[2]),
                parts[1],
                parts[2],
                tuple(str(note)[:500] for note in answer["notes"][:10]),
                str(answer["note"])[:2000],
                _measure(answer["area"]),
                _measure(answer["volume"]),
                "mm" if answer["unit"] == "mm" else "",
            )
        except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
            raise QueryRefused(
                f"{shown} cannot be used: what was read of it is not finite or not complete; repair it, or save it "
                "in another format",
                "damaged",
            ) from error

    def check(self) -> None:
        """Start a process where there is none."""
        if not self.alive:
            self._give(self._take())

    @property
    def alive(self) -> int:
        """How many processes there are."""
        with self._lock:
            return sum(worker.process.poll() is None for worker in self._all)

    def _take(self) -> _Worker:
        self._free.acquire()
        try:
            if self._closed:
                raise Unavailable("the search is closed")
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                worker = self._start()
            if worker.process.poll() is not None:  # it was ended while it was idle
                self._forget(worker)
                worker = self._start()
            return worker
        except BaseException:
            self._free.release()
            raise

    def _start(self) -> _Worker:
        try:
            with compiled_once(MAIN):
                worker = _Worker(self.inputs, self.limits, self.files)
        except (ChildDied, OSError) as error:
            raise Unavailable(f"no process that reads files could be started: {error}") from error
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                return worker
        worker.close()
        raise Unavailable("the search is closed")

    def _give(self, worker: _Worker) -> None:
        self._idle.put(worker)
        self._free.release()

    def _drop(self, worker: _Worker) -> None:
        self._forget(worker)
        self._free.release()

    def _forget(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.close()


def _measure(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError("a measure is not finite")
    return number
