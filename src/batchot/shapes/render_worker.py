"""The process that renders shapes for another one, which can do without it.

It reads pickled tasks from its standard input and answers each on its standard output, and it ends when its
input does. A shape on which it dies takes nothing else along.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

from batchot.shapes.atomic import ViewCacheError
from batchot.shapes.content_hash import FileState
from batchot.shapes.errors import ShapeWarning
from batchot.shapes.shape import Mesh
from batchot.shapes.view_file import is_whole, write_views
from batchot.shapes.view_settings import ViewSettings, render_shape

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource

_GRACE_SECONDS = 5.0
MAIN = "from batchot.shapes.render_worker import main; main()"


@dataclass(frozen=True)
class Setup:
    """What a worker is told first.

    Args:
        settings: from where and how shapes are seen.
        temporary: where a file is written before it gets its name.
        time_limit: for one shape, seconds; ``None``: none.
    """

    settings: ViewSettings
    temporary: Path
    time_limit: float | None = None


@dataclass(frozen=True)
class Task:
    """A shape to render.

    Args:
        source: where it lies.
        target: the file of its views.
        state: of its file when its content was looked at.
    """

    source: ShapeSource
    target: Path
    state: FileState


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
    """Render one shape into its file.

    Args:
        task: which.
        setup: and how.

    Returns:
        What became of it.
    """
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
    # Where memory runs out the kernel is to take a worker, not the process that knows what is left to do.
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
