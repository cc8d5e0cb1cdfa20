"""Rendering by the workers of an engine: each has a process of its own that renders, which may die."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batchot.engine.engine import Lost
from batchot.shapes.render_pool import Outcome, Renderer

if TYPE_CHECKING:
    from batchot.engine.engine import Engine
    from batchot.shapes.render_worker import Task
    from batchot.shapes.view_settings import ViewSettings


def render_tasks_on(
    engine: Engine,
    tasks: Sequence[Task],
    settings: ViewSettings,
    parts: Path,
    *,
    time_limit: float | None,
) -> Generator[Outcome, None, None]:
    """Render shapes on the workers of an engine, which write the views themselves.

    Args:
        engine: whose workers see the shapes and the cache as this process does.
        tasks: which.
        settings: from where and how they are seen.
        parts: folder for files that are being written, in the folder of the views.
        time_limit: for one shape, seconds; ``None``: none.

    Yields:
        What became of each task, as it is known, as ``render_tasks`` gives it.

    Raises:
        EngineError: there are no workers.
        ViewCacheError: the disk is full or not writable, or no process can be started.
    """
    if not tasks:
        return
    shared = (parts.parent / "settings.json", parts, tasks[0].source.path.parent)
    make = partial(Renderer, settings, parts.absolute(), time_limit)
    with engine.pool(make, shared=shared) as pool:
        for number, answer in pool.run(tasks):
            if isinstance(answer, Lost):
                task = tasks[number]
                yield Outcome(task, "crash", f"{task.source.path}: {answer}")
            else:
                yield answer
