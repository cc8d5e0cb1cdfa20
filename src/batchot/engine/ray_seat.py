"""What runs in a Ray worker process: checks first, then one task after the other."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchot.engine.engine import difference, this_build


@dataclass(frozen=True)
class Seen:
    """A path as the process sees it that hands out the work."""

    path: str  # absolute
    size: int | None  # of a file, bytes; None: it is a folder

    @classmethod
    def of(cls, path: Path) -> Seen:
        """The path as it is seen here."""
        path = path.absolute()
        return cls(str(path), None if path.is_dir() else path.stat().st_size)

    def is_seen(self) -> bool:
        """Say whether it is seen here, too."""
        try:
            path = Path(self.path)
            return path.is_dir() if self.size is None else path.stat().st_size == self.size
        except OSError:
            return False


@dataclass(frozen=True)
class Place:
    """Where a worker sits."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}"


class Seat:
    """A worker: `start` once, then `work` for each task."""

    def start(
        self, build: dict[str, str], folder: str, shared: Sequence[Seen], make: bytes
    ) -> tuple[bool, Place | str]:
        """Take a seat: (True, where it is) or (False, what is wrong)."""
        place = Place(socket.gethostname(), os.getpid())
        if (differs := difference(build, this_build())) is not None:
            return False, (
                f"the worker at {place.host} has {differs}; results would not be those of one machine, install the "
                "same versions everywhere"
            )
        if unseen := [seen.path for seen in shared if not seen.is_seen()]:
            return False, (
                f"the worker at {place.host} does not see {unseen[0]} as this machine does; put it where all machines "
                "see it under the same path (the cache folder is set by XDG_CACHE_HOME)"
            )
        if os.path.isdir(folder):
            os.chdir(folder)
        _go_first()
        self._worker = pickle.loads(make)()
        return True, place

    def work(self, task: bytes) -> bytes:
        """Do a task; the answer is (True, what is wanted) or (False, an error), pickled."""
        answer: tuple[bool, Any]
        try:
            answer = True, self._worker(pickle.loads(task))
        except Exception as error:  # as itself, not in the wrapping of Ray, so that its message is the user's
            answer = False, error
        return pickle.dumps(answer)


def _go_first() -> None:
    # Where memory runs out, a worker is to go, not the process that knows what is left to do.
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return
