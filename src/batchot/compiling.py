"""numba's njit, and one line of text where compiling takes longer than a moment."""

from __future__ import annotations

import contextlib
import logging
import os
import time

from numba import config, njit
from numba.core import event

__all__ = ["njit"]

_PATIENCE = 1.0  # seconds of compiling that nobody is told of
NOTES = "BATCHOT_NOTES"  # a file descriptor for the line, in a process whose standard error nobody reads


class _Teller(event.Listener):
    """Adds up how long numba compiles functions of this package, and says so once. numba compiles one at a time."""

    def __init__(self) -> None:
        self.depth, self.spent, self.since, self.told = 0, 0.0, 0.0, False

    def on_start(self, event: event.Event) -> None:
        if self.depth or (event.data["dispatcher"].py_func.__module__ or "").startswith("batchot."):
            if not self.depth:
                self.since = time.perf_counter()
            self.depth += 1
            self._tell()

    def on_end(self, event: event.Event) -> None:
        if self.depth:
            self._tell()
            self.depth -= 1
            if not self.depth:
                self.spent += time.perf_counter() - self.since

    def _tell(self) -> None:
        if self.told or self.spent + time.perf_counter() - self.since < _PATIENCE:
            return
        self.told = True
        text = (
            "batchot: numba compiles loops for this machine, which takes some seconds; they are kept for later "
            f"processes ({config.CACHE_DIR or '__pycache__ of the package, or a cache folder'})."
        )
        if notes := os.environ.get(NOTES):
            with contextlib.suppress(OSError):  # closed, or no files may be written any more
                os.write(int(notes), f"{text}\n".encode())
        else:
            logging.getLogger("batchot").warning(text)


event.register("numba:compile", _Teller())
