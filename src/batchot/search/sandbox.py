"""Processes in which files are read, each of which may die or be stopped without harm."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, get_args

import numpy as np

from batchot.search.prepare import Prepared, What, read_frame, write_frame
from batchot.search.query_kind import shown_name
from batchot.search.records import QueryRefused, Reason, Unavailable, plain
from batchot.search.sandbox_worker import MAIN
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource
from batchot.towers.spec import Inputs
from batchot.workers.pool import EngineError, Lost, Respawned, run_on
from batchot.workers.process import ChildDied, ChildProcess, usable_cores

_Task: TypeAlias = tuple[dict[str, Any], Sequence[bytes], float | None]  # what to do, blobs, seconds
_Answer: TypeAlias = tuple[dict[str, Any], list[bytes]]
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


class _Reader(Respawned):
    """A process that reads files; it is sent data, and what it answers is not unpickled."""

    def __init__(self, inputs: Inputs, limits: Limits, files: bool) -> None:
        super().__init__(MAIN, limits.time)
        self._setup = {
            "inputs": inputs.to_json(),
            "time_limit": limits.time,
            "memory_limit": limits.memory,
            "max_bytes": limits.bytes,
            "max_faces": limits.faces,
            "files": files,
        }

    def greet(self, process: ChildProcess) -> None:
        with process.answering(_START_SECONDS):
            write_frame(process.stdin, self._setup)
            if read_frame(process.stdout, 0)[0].get("status") != "ready":
                raise ChildDied("it did not start")

    def ask(self, process: ChildProcess, task: _Task) -> _Answer:
        about, blobs, seconds = task
        with process.answering(seconds or self.time_limit):
            write_frame(process.stdin, about, blobs)
            answer = read_frame(process.stdout, _MOST_ANSWER)
        if answer[0].get("status") == "memory":
            self.end()  # what is left of its memory is in pieces
        return answer


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
        self.readers = [_Reader(inputs, self.limits, files) for _ in range(self.processes)]
        self._free = threading.Semaphore(self.processes)
        self._idle = self.readers.copy()  # the last one that was used is the next
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they are at."""
        self._closed = True
        for reader in self.readers:
            reader.close()

    def warm_up(self) -> None:
        """Start all processes now, so that the first queries need not wait."""
        with ExitStack() as stack:
            for reader in [stack.enter_context(self._reader()) for _ in range(self.processes)]:
                reader.start()

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
        with self._reader() as reader:
            answer = reader((task, (data,), seconds))
        return self._prepared(answer, shown, seconds or self.limits.time)

    def prepare_sources(
        self, sources: Sequence[ShapeSource], *, thumbnail: bool = True, preview: bool = True
    ) -> Iterator[tuple[int, Prepared | QueryRefused]]:
        """Make shapes of the user's own disk ready, in parallel, and give them by number; leaving early closes it."""
        if not self.files:
            raise ValueError("this sandbox takes no paths; make it with files=True")
        tasks = [(self._about(source, thumbnail, preview), (), None) for source in sources]
        with _told():
            for number, answer in run_on(self.readers, tasks):
                try:
                    yield number, self._prepared(answer, sources[number].location, self.limits.time)
                except QueryRefused as error:
                    yield number, error

    @staticmethod
    def _about(source: ShapeSource, thumbnail: bool, preview: bool) -> dict[str, Any]:
        return {
            "name": source.name,
            "path": str(source.path),
            "member": source.member,
            "up": source.up,
            "tolerance": source.tolerance,
            "thumbnail": thumbnail,
            "preview": preview,
        }

    @contextmanager
    def _reader(self) -> Iterator[_Reader]:
        """One that is free; it is waited for."""
        with self._free, _told():
            if self._closed:
                raise Unavailable("the search is closed")
            reader = self._idle.pop()
            try:
                yield reader
            finally:
                self._idle.append(reader)

    def _prepared(self, answer: _Answer | Lost, shown: str, seconds: float) -> Prepared:
        if not isinstance(answer, Lost):
            return self._checked(*answer, shown)
        if answer.kind == "time":
            raise QueryRefused(f"{shown} takes longer than {seconds:g} s; simplify it", "time")
        raise QueryRefused(
            f"{shown} cannot be read: it brings its reader down ({plain(answer.reason)}); repair it, or save it in "
            "another format",
            "damaged",
        )

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
            with self._reader() as reader:
                reader.start()

    @property
    def alive(self) -> int:
        """How many processes there are."""
        return sum(reader.alive for reader in self.readers)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (EngineError, OSError) as error:
        raise Unavailable(
            f"no process that reads files could be started: {error.__cause__ or error}"
        ) from error
    except ChildDied as death:
        raise Unavailable("the search was closed while a file was read") from death


def _measure(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError("a measure is not finite")
    return number
