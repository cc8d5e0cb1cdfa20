"""What rendering, embedding and indexing ask of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class EngineError(RuntimeError):
    """Workers cannot be had or used; the message says why and what to do."""


@dataclass(frozen=True)
class Lost:
    """What is answered for a task that ended every worker that took it.

    Args:
        tries: workers that were lost with it
        reason: what is known of the last one's end

    >>> str(Lost(3, "it was ended"))
    'the worker that had it was lost 3 times, it was ended'
    """

    tries: int
    reason: str

    def __str__(self) -> str:
        return f"the worker that had it was lost {self.tries} times, {self.reason}"


class Worker(Protocol):
    """What a worker does: made once on its machine, then called for each task."""

    def __call__(self, task: Any, /) -> Any:
        """Do a task; what is raised ends the whole work."""

    def close(self) -> None:
        """Let go of what it holds."""


class Pool(Protocol):
    """Workers that are all made alike."""

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[int, Any | Lost]]:
        """Do tasks; the number of each with its answer is given as they are done, in any order."""


class Engine(Protocol):
    """Gives workers."""

    @property
    def workers(self) -> int:
        """How many there are to be."""

    def pool(
        self, make: Callable[[], Worker], *, shared: Sequence[Path] = (), gpu: bool = False
    ) -> AbstractContextManager[Pool]:
        """Start workers, and end them when the context is left, however it is left.

        Args:
            make: makes what a worker does; it is pickled, and called on the worker's machine
            shared: files and folders that every worker must see as this process does
            gpu: each worker needs a GPU

        Raises:
            EngineError: there are no such workers
        """
