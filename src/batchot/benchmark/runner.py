"""Processes that train, several at once, each stopped in good order with the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchot.benchmark.job import DIVERGED, FINISHED, MEASURED, Job, key_of, read_job, write_job
from batchot.benchmark.worker import DIVERGED_STATUS, TOLD
from batchot.errors import RunError, RunInterrupted, Tell, nobody
from batchot.files import RunFolder
from batchot.reporting.run import read_history
from batchot.training.callbacks import Row

_PATIENCE = 120.0  # seconds that a process may take to write its checkpoint


@dataclass(frozen=True)
class Outcome:
    """A run that is over."""

    folder: Path  # of the run
    rows: tuple[Row, ...]  # an epoch each
    diverged: str | None  # the message, where training diverged
    commit: str | None  # of the code
    measured: dict[str, Any]  # when it was finished, and on which machine
    here: bool  # whether it was done now and not by an earlier process

    @property
    def map(self) -> float | None:
        return next((row.map for row in reversed(self.rows) if row.map is not None), None)


class Runner:
    """Runs training jobs in processes, at most so many at once; runs that are there already are not run again."""

    def __init__(self, root: Path, processes: int) -> None:
        self.root = root
        self._slots = threading.BoundedSemaphore(processes)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def run(self, group: str, job: Job) -> Outcome:
        """Do a job, or find it done."""
        folder = self.root / group / key_of(job.recipe)
        if not ((folder / FINISHED).exists() or (folder / DIVERGED).exists()):
            with self._slots:
                self._train(folder, job)
            return _outcome(folder, here=True)
        return _outcome(folder, here=False)

    def _train(self, folder: Path, job: Job) -> None:
        if self._stopping:
            raise RunInterrupted
        if not RunFolder(folder).holds_run():  # a run that goes on keeps the commit that it was begun with
            write_job(folder, job)
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment[name] = str(job.threads)
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "batchot.benchmark.worker", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the process that started this one, which tells it
            )
            with self._lock:
                self._running.add(process)
            if self._stopping:  # asked for while the process was being started
                process.terminate()
            status = process.wait()
            with self._lock:
                self._running.discard(process)
        if self._stopping and status != 0:
            raise RunInterrupted
        if status not in (0, DIVERGED_STATUS):
            raise RunError(f"{folder}: {_why(folder, status)}")

    def stop(self, tell: Tell = nobody) -> None:
        """Let all processes write a checkpoint and end."""
        self._stopping = True
        with self._lock:
            running = list(self._running)
        if running:
            tell(f"stopping {len(running)} runs, which write their checkpoints")
        for process in running:
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + _PATIENCE
        for process in running:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def _outcome(folder: Path, *, here: bool) -> Outcome:
    path = folder / DIVERGED
    diverged = path.read_text(encoding="utf-8").strip() if path.exists() else None
    rows = read_history(RunFolder(folder).history)
    return Outcome(folder, rows, diverged, read_job(folder).commit, _measured(folder), here)


def _measured(folder: Path) -> dict[str, Any]:
    path = folder / MEASURED
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is missing or damaged ({error}); remove {folder} and start again") from error


def _why(folder: Path, status: int) -> str:
    if status < 0:
        return f"the process was ended by {signal.Signals(-status).name} (out of memory?); the same command goes on"
    text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip()
    told = text.rpartition(TOLD)[2] if TOLD in text else text.rpartition("\n")[2]
    return told or f"failed with status {status}"
