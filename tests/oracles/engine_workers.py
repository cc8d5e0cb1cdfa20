"""Workers with which engines are tested, importable from any process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from batchot.data.sets.shape_files import PartCounter


class Doubler:
    """Gives twice its task; "die" ends the process, "fail" raises."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self, task: object) -> object:
        """Do a task."""
        time.sleep(self.seconds)
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "fail":
            raise LookupError("this task cannot be done")
        return task * 2  # type: ignore[operator]


class FragileCounter(PartCounter):
    """Counts parts, and is brought down by a file that says "die"."""

    def __call__(self, path: Path) -> int:
        """How many parts there are."""
        if b"'die'" in path.read_bytes():
            os._exit(1)
        return super().__call__(path)
