"""Workers with which engines are tested, importable from any process."""

from __future__ import annotations

import os
import signal
import time


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

    def close(self) -> None:
        """Nothing is held."""
