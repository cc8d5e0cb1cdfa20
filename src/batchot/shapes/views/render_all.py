"""Render the views of a collection, in parallel and resumable."""

from __future__ import annotations

import json
import os
import random
import time
import uuid
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from tqdm import tqdm

from batchot.errors import ShapeWarning, Tell, nobody
from batchot.files import ViewCacheError, write_whole
from batchot.shapes.shape import Mesh
from batchot.shapes.views.cache import (
    RenderFailure,
    ViewCache,
    ViewId,
    is_whole,
    read_failures,
    view_id,
    view_key,
    view_path,
    write_failures,
    write_views,
)
from batchot.shapes.views.content import Content, ContentIndex, FileState, SourceId, source_id
from batchot.shapes.views.settings import ViewSettings, render_shape
from batchot.workers.pool import Apart, EngineError, Lost, ProcessPool
from batchot.workers.process import usable_cores

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource
    from batchot.workers.pool import Engine

# A file that is being written is done within seconds: an older one is what a killed process has left.
_LEFT_BEHIND_SECONDS = 3600.0


@dataclass(frozen=True)
class Task:
    """A shape to render."""

    source: ShapeSource  # where it lies
    target: Path  # the file of its views
    state: FileState  # of its file when its content was looked at


@dataclass(frozen=True)
class Outcome:
    """What became of a task: rendered, found to be there already, or why not."""

    task: Task
    status: Literal["rendered", "there", "unreadable", "shape", "time", "crash"]
    reason: str = ""
    notes: tuple[str, ...] = ()  # of the shape


class ShapeRenderer:
    """Renders one shape after the other into files."""

    def __init__(self, settings: ViewSettings, parts: str) -> None:
        """Begin the names of unfinished files with ``parts``; whoever asks for the work removes what is left."""
        warnings.simplefilter("ignore", ShapeWarning)  # they go with the outcomes
        self._settings = settings
        self._temporary = Path(f"{parts}{uuid.uuid4().hex}.part")
        # Compiles what is not compiled yet, so that it is not counted in the time of the first shape.
        triangle = Mesh(np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]]), np.array([[0, 1, 2]]))
        render_shape(triangle, settings)

    def __call__(self, task: Task) -> Outcome:
        """Render a shape; a `ViewCacheError` ends the whole work, with a `MemoryError` it may be tried again."""
        path = task.source.path
        try:
            if is_whole(task.target, self._settings.view_shape):
                return Outcome(task, "there")  # another process on the same collection was faster
            shape = task.source.load(self._settings.up)
            views = render_shape(shape, self._settings)
            if FileState.of(path) != task.state:
                return Outcome(task, "unreadable", f"{path} was changed while it was read; try again")
            write_views(task.target, views, self._temporary)
        except (ViewCacheError, MemoryError):
            raise
        except OSError as error:
            return Outcome(task, "unreadable", f"{path}: {error.strerror or error}")
        except Exception as error:  # whatever a damaged file makes a reader do, the others go on
            text = str(error) or type(error).__name__
            if isinstance(error.__cause__, MemoryError):
                raise MemoryError(text) from error
            return Outcome(task, "shape", text if str(path) in text else f"{path}: {text}")
        return Outcome(task, "rendered", notes=shape.notes)


class RenderWork:
    """The shapes of a collection: which have views, which are to be rendered, which have failed."""

    def __init__(self, sources: Sequence[ShapeSource], settings: ViewSettings, folder: Path) -> None:
        self.sources, self.settings, self.folder = sources, settings, folder
        self.parts = folder / "parts"
        self.report = folder / "failures.jsonl"
        self.keys: dict[ViewId, str] = {}
        self.tasks: dict[str, Task] = {}  # by key, as the next ones
        self.done: set[str] = set()
        self.failed: dict[str, RenderFailure] = {}
        self.unreadable: dict[SourceId, str] = {}
        self.notes: list[str] = []
        self.n_rendered = 0

    def prepare(self) -> None:
        """Make the folder, say in it what it holds, and remove what a killed process has left behind."""
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            for part in self.parts.iterdir():
                if time.time() - part.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                    part.unlink(missing_ok=True)
        except FileNotFoundError:  # another process has just finished or removed that file
            pass
        except OSError as error:
            raise ViewCacheError(
                f"the folder {self.folder} cannot be used for views: {error.strerror or error}; "
                "choose another one or mend its permissions"
            ) from error
        described = self.folder / "settings.json"
        if not described.exists():
            text = json.dumps({"cameras": self.settings.placed.name, **self.settings.description}, indent=2)
            write_whole(described, [text.encode(), b"\n"])

    def look_at(
        self, contents: Mapping[SourceId, Content], unreadable: Mapping[SourceId, str], *, check: bool
    ) -> None:
        """Find the shapes that have no views yet."""
        self.unreadable.update(unreadable)
        for source in self.sources:
            content = contents.get(source_id(source))
            if content is None:
                continue
            key = self.keys[view_id(source)] = view_key(source, content.sha256, self.settings)
            if key in self.done or key in self.tasks:
                continue
            target = view_path(self.folder, key)
            if is_whole(target, self.settings.view_shape, check):
                self.done.add(key)
            else:
                target.unlink(missing_ok=True)  # damaged, perhaps at its right size
                self.tasks[key] = Task(source, target, content.state)

    def give_up_known(self, time_limit: float | None) -> int:
        """Leave out the shapes of which an earlier call has said that they take too long or crash."""
        known = 0
        for failure in read_failures(self.report):
            hopeless = failure.kind == "crash" or (
                failure.kind == "time" and time_limit is not None and failure.seconds >= time_limit
            )
            if hopeless and self.tasks.pop(failure.key, None) is not None:
                self.failed[failure.key] = failure
                known += 1
        return known

    def note(self, outcome: Outcome, time_limit: float) -> None:
        """Remember what became of a task."""
        source, key = outcome.task.source, outcome.task.target.stem
        if outcome.status == "rendered" or outcome.status == "there":
            self.done.add(key)
            self.n_rendered += outcome.status == "rendered"
            self.notes += [f"{source.name}: {note}" for note in outcome.notes]
            return
        path, member = source_id(source)
        seconds = time_limit if outcome.status == "time" else 0.0
        self.failed[key] = RenderFailure(
            source.name, outcome.reason, outcome.status, path, member, key, seconds
        )

    def failures(self) -> list[RenderFailure]:
        """The failures in the order of the shapes; each shape is named, also where several are equal."""
        failures = []
        for source in self.sources:
            path, member = identity = source_id(source)
            if identity in self.unreadable:
                reason = self.unreadable[identity]
                failures.append(RenderFailure(source.name, reason, "unreadable", path, member))
            elif (failure := self.failed.get(self.keys[view_id(source)])) is not None:
                failures.append(replace(failure, name=source.name, path=path, member=member))
        return failures

    def write_report(self) -> None:
        """Write the failures down, and keep those of other collections and of shapes not tried yet."""
        failures = self.failures()
        ours = {source_id(source) for source in self.sources}
        waiting = self.tasks.keys() - self.done - self.failed.keys()
        kept = [
            failure
            for failure in read_failures(self.report)
            if (failure.path, failure.member) not in ours or failure.key in waiting
        ]
        if kept or failures or self.report.exists():
            write_failures(self.report, [*kept, *failures])

    def cache(self, seconds: float) -> ViewCache:
        """The views that there are now; ``seconds`` is how long that took."""
        keys = {identity: key for identity, key in self.keys.items() if key in self.done}
        failures, notes = tuple(self.failures()), tuple(sorted(self.notes))
        return ViewCache(self.folder, self.settings, keys, failures, self.n_rendered, seconds, notes)


def render_collection(
    sources: Sequence[ShapeSource],
    settings: ViewSettings,
    folder: Path,
    *,
    processes: int | None = None,
    time_limit: float | None = 300.0,
    progress: bool = True,
    check: bool = False,
    retry_failed: bool = False,
    on_message: Tell = nobody,
    engine: Engine | None = None,
) -> ViewCache:
    """Render the shapes that are not in the cache yet, side by side, and report those that cannot be."""
    if (processes is not None and processes < 1) or (time_limit is not None and not time_limit > 0):
        raise ValueError(f"processes and time_limit must be positive, got {processes} and {time_limit}")
    started = time.monotonic()
    work = RenderWork(sources, settings, Path(folder) / settings.digest)
    work.prepare()
    index = ContentIndex(Path(folder) / "contents.json")
    with tqdm(desc="reading", unit="shape", disable=not progress, leave=False, delay=1.0) as bar:

        def tick(total: int) -> None:
            bar.total = total
            bar.update()

        contents, unreadable = index.look_up(sources, tick)
    work.look_at(contents, unreadable, check=check)
    if not retry_failed and (known := work.give_up_known(time_limit)):
        on_message(f"{known:,} shapes that took too long or crashed before are not tried again")
    tasks = list(work.tasks.values())
    if tasks:
        on_message(f"{len(tasks):,} of {len(sources):,} shapes are to be rendered")
    outcomes = _render_tasks(
        _shuffled(tasks), settings, work.parts, processes=processes, time_limit=time_limit, engine=engine
    )
    try:
        with (
            closing(outcomes),
            tqdm(total=len(tasks), desc="rendering", unit="shape", disable=not (progress and tasks)) as bar,
        ):
            for outcome in outcomes:
                work.note(outcome, time_limit or 0.0)
                bar.update()
                if work.failed:
                    bar.set_postfix(failed=len(work.failed), refresh=False)
    finally:
        work.write_report()
    return work.cache(time.monotonic() - started)


def _shuffled(tasks: Sequence[Task]) -> list[Task]:
    # Two calls on one collection meet different shapes, and each leaves out what the other has done. Clouds of
    # one HDF5 file stay together, because a process that reads one has to read them all.
    files: dict[Path, list[Task]] = {}
    for task in tasks:
        files.setdefault(task.source.path, []).append(task)
    groups = list(files.values())
    random.shuffle(groups)
    for group in groups:
        random.shuffle(group)
    return [task for group in groups for task in group]


def _render_tasks(
    tasks: Sequence[Task],
    settings: ViewSettings,
    parts: Path,
    *,
    processes: int | None,
    time_limit: float | None,
    engine: Engine | None,
) -> Generator[Outcome, None, None]:
    """Render shapes in processes here, or in one of each worker of an engine, which write the views themselves."""
    if not tasks:
        return
    begin = f"{uuid.uuid4().hex}-"
    make = partial(ShapeRenderer, settings, f"{parts.absolute()}{os.sep}{begin}")
    shared = (parts.parent / "settings.json", parts, tasks[0].source.path.parent)
    pool = (
        ProcessPool(make, usable_cores() if processes is None else processes, time_limit)
        if engine is None
        else engine.pool(partial(Apart, make, time_limit), shared=shared)
    )
    try:
        with pool as workers, closing(workers.run(tasks)) as answers:
            for number, answer in answers:
                if isinstance(answer, Lost):
                    path, text = tasks[number].source.path, str(answer)
                    text = text if str(path) in text else f"{path}: {text}"
                    yield Outcome(tasks[number], "time" if answer.kind == "time" else "crash", text)
                else:
                    yield answer
    except EngineError as error:
        if engine is not None:
            raise
        raise ViewCacheError(f"no process that renders could be started: {error.__cause__}") from error
    finally:
        for part in parts.glob(f"{begin}*"):  # of processes that died or were ended
            part.unlink(missing_ok=True)
