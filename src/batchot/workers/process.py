"""Run a child process that may die or be stopped without harm to this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import IO

_ONE_THREAD = ("OMP", "NUMBA", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")


_NOTES = "BATCHOT_NOTES"  # where a child may tell the user that it compiles, see batchot.compiling
_compiled: set[str] = set()  # code whose loops a child of this process has compiled, or found
_compiling = threading.Lock()


class ChildDied(Exception):
    """The process is no more; the message says what is known of its end."""


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def import_path() -> str:
    """What a child needs as PYTHONPATH to find what this process can import."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def end_me_first() -> None:
    """Where memory runs out, the kernel is to end this process, and not the one that knows what is left to do."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


class Late(ChildDied):
    """It was ended, as it took longer than so many seconds."""

    def __init__(self, words: str, seconds: float) -> None:
        super().__init__(words)
        self.seconds = seconds


def own_stdout() -> IO[bytes]:
    """In a child: where its answers go; what a library prints must not get among them."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def end_after(seconds: float | None) -> None:
    """In a child: whoever waits for it ends it when its time is over; where nobody waits any more the kernel does."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds or 0.0)


@contextmanager
def compiled_once(code: str) -> Iterator[None]:
    """While children that run this code get ready: the first one alone, as the others find what it compiles."""
    if code not in _compiled:
        with _compiling:
            if code not in _compiled:
                yield
                _compiled.add(code)
                return
    yield


class ChildProcess:
    """A Python process that reads tasks from its standard input and writes answers to its standard output."""

    def __init__(self, code: str) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        notes = () if code in _compiled else _own_stderr()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_environment(notes),
            pass_fds=notes,
            # A group of its own: Ctrl-C in the terminal reaches us alone, and we decide.
            process_group=0 if os.name == "posix" else None,
        )
        for fd in notes:
            os.close(fd)

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

    @contextmanager
    def answering(self, seconds: float | None = None) -> Iterator[None]:
        """Around a message and its answer: `ChildDied` where none comes, `Late` where it takes too long."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds or 0.0, stop)
        timer.daemon = True
        if seconds is not None:
            timer.start()
        try:
            yield
        except (OSError, EOFError, ValueError, UnpicklingError) as error:
            if seconds is not None and late.is_set():
                raise Late(self.last_words(), seconds) from error
            raise ChildDied(self.last_words()) from error
        finally:
            timer.cancel()

    def close(self) -> None:
        """Stop the process and close its streams."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            with suppress(OSError):  # what was still to be sent to it
                if stream is not None:
                    stream.close()

    def last_words(self) -> str:
        """Stop the process and return how it ended."""
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


def _own_stderr() -> tuple[int, ...]:
    """A copy of the descriptor of this process's standard error, where it can be handed on."""
    try:
        return (os.dup(2),) if os.name == "posix" else ()
    except OSError:  # it has none
        return ()


def _environment(notes: tuple[int, ...]) -> dict[str, str]:
    # It does not fight over the cores with threads of its own.
    threads = {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    return {**os.environ, **threads, "PYTHONPATH": import_path(), _NOTES: "".join(map(str, notes))}
