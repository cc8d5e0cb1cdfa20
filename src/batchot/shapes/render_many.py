"""All shapes of a collection rendered into a cache."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from batchot.shapes.content_index import ContentIndex
from batchot.shapes.render_pool import render_tasks
from batchot.shapes.render_seat import render_tasks_on
from batchot.shapes.render_work import RenderWork
from batchot.shapes.render_worker import Task
from batchot.shapes.view_cache import ViewCache
from batchot.shapes.view_settings import ViewSettings

if TYPE_CHECKING:
    from batchot.engine.engine import Engine
    from batchot.shapes.source import ShapeSource


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
    on_message: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> ViewCache:
    """Render the shapes that are not in the cache yet, side by side, and report those that cannot be.

    The call may be interrupted or killed at any moment, and the next one goes on from there; two may run at
    once. A shape that cannot be read, kills its process twice or takes too long is left out and reported.

    Args:
        sources: the shapes; two of equal content are rendered once.
        settings: from where and how they are seen.
        folder: of the cache, for any number of settings and collections.
        processes: that render, of one thread each; as many as there are cores if ``None``.
        time_limit: for one shape, seconds; ``None``: none.
        progress: show progress bars.
        check: read the files that are there and render those anew that are damaged; otherwise their size is
            looked at, and the rest when they are loaded.
        retry_failed: try those shapes again too that took too long or killed their process in an earlier call.
        on_message: told in a sentence what is being done.
        engine: whose workers render; processes of this machine if ``None``.

    Returns:
        The views, and what failed.

    Raises:
        ValueError: ``processes`` or ``time_limit`` is not positive.
        ViewCacheError: the disk is full or not writable; no process could be started.
        KeyboardInterrupt: the user has stopped it; all processes have ended.

    Example:
        >>> import tempfile
        >>> from batchot.shapes.render_many import render_collection
        >>> from batchot.shapes.source import ShapeSource
        >>> from batchot.shapes.view_settings import ViewSettings
        >>> with tempfile.TemporaryDirectory() as name:
        ...     good, bad = Path(name) / "good.off", Path(name) / "bad.off"
        ...     _ = good.write_text("OFF\\n3 1 0\\n0 0 0\\n1 0 0\\n0 1 0\\n3 0 1 2\\n"), bad.write_text("OFF\\n")
        ...     sources = [ShapeSource(path.stem, path) for path in (good, bad)]
        ...     settings = ViewSettings(cameras="box-6", size=16)
        ...     cache = render_collection(sources, settings, Path(name) / "views", progress=False)
        ...     cache.load(sources[0]).shape, [failure.name for failure in cache.failures]
        ((6, 1, 16, 16), ['bad'])
    """
    if (processes is not None and processes < 1) or (time_limit is not None and not time_limit > 0):
        raise ValueError(f"processes and time_limit must be positive, got {processes} and {time_limit}")
    say = on_message or (lambda text: None)
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
        say(f"{known:,} shapes that took too long or crashed before are not tried again")
    tasks = list(work.tasks.values())
    if tasks:
        say(f"{len(tasks):,} of {len(sources):,} shapes are to be rendered")
    if engine is None:
        outcomes = render_tasks(
            _shuffled(tasks),
            settings,
            work.parts,
            processes=usable_cores() if processes is None else processes,
            time_limit=time_limit,
        )
    else:
        outcomes = render_tasks_on(engine, _shuffled(tasks), settings, work.parts, time_limit=time_limit)
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


def usable_cores() -> int:
    """How many cores this process may use.

    Example:
        >>> from batchot.shapes.render_many import usable_cores
        >>> usable_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
