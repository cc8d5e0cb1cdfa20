"""A process that works for this one, and that may die or be stopped without harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import IO

_ONE_THREAD = ("OMP", "NUMBA", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")


class ChildDied(Exception):
    """The process is no more; the message says what is known of its end."""


class ChildProcess:
    """A Python process that reads tasks from its standard input and writes answers to its standard output.

    Args:
        code: what it runs

    Example:
        >>> child = ChildProcess("import sys; sys.stdout.write(sys.stdin.readline().upper())")
        >>> _ = child.stdin.write(b"a\\n"); child.stdin.flush()
        >>> child.stdout.readline().strip()
        b'A'
        >>> child.close()
    """

    def __init__(self, code: str) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_environment(),
            # A group of its own: Ctrl-C in the terminal reaches us alone, and we decide.
            process_group=0 if os.name == "posix" else None,
        )

    @property
    def stdin(self) -> IO[bytes]:
        """Takes tasks."""
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """Gives answers."""
        assert self.process.stdout is not None
        return self.process.stdout

    def kill(self) -> None:
        """Stop it, from any thread."""
        self.process.kill()

    def close(self) -> None:
        """Stop it and let go of its streams."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # what was still to be sent to it
                continue

    def last_words(self) -> str:
        """Stop it, and say how it ended."""
        self.process.kill()
        status = self.process.wait()
        try:
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        except ValueError:  # closed meanwhile, by another thread
            lines = []
        if status < 0:
            name = signal.Signals(-status).name
            return f"it was ended by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
        return lines[-1] if lines else f"it ended with status {status}"


def _environment() -> dict[str, str]:
    # It finds what this process can import, and does not fight over the cores with threads of its own.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    threads = {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    return {**os.environ, **threads, "PYTHONPATH": paths}
