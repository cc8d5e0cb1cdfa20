"""Where work runs: processes of this machine, or workers of a cluster."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol


class EngineError(RuntimeError):
    """Workers cannot be had or used; the message says why and what to do."""


@dataclass(frozen=True)
class Lost:
    """What is answered for a task that ended every worker that took it."""

    tries: int  # workers that were lost with it
    reason: str  # what is known of the last one's end

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
        """Start workers, and end them when the context is left, however it is left."""


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
    found = [f"{name} {there.get(name, 'missing')}, not {value}" for name, value in here.items()]
    return (
        "; ".join(text for text, name in zip(found, here, strict=True) if there.get(name) != here[name])
        or None
    )


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
