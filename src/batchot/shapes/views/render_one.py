"""Render one shape into its file, as a worker does; what is wrong with a shape is an answer."""

from __future__ import annotations

import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from batchot.errors import ShapeWarning
from batchot.files import ViewCacheError
from batchot.shapes.shape import Mesh
from batchot.shapes.views.cache import is_whole, write_views
from batchot.shapes.views.content import FileState
from batchot.shapes.views.settings import ViewSettings, render_shape

if TYPE_CHECKING:
    from batchot.shapes.source import ShapeSource


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
