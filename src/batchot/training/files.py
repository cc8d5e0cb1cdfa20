"""Files of a run folder, written so that a full disk or a killed process leaves the previous one good."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from batchot.errors import RunError


class RunInterrupted(Exception):
    """The user stopped the run; a checkpoint has been written."""


class Diverged(RunError):
    """The loss of a run, or its embeddings, are no longer finite."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then renamed over it."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's file is its owner's alone
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            kept = f"; the previous {path.name} is untouched" if path.exists() else ""
            raise RunError(f"cannot write {path}: {error.strerror or error}{kept}") from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file whole or not at all, see `write_atomically`."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, see `write_atomically`."""
    write_bytes(path, text.encode())


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a flat mapping as JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows as CSV with a header, whole or not at all; the columns are those of the first row if None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(rows[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


class RunFolder:
    """Where the parts of a run lie."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.yaml"
        self.metrics = root / "metrics.json"
        self.history = root / "history.csv"
        self.plans = root / "plan.csv"
        self.checkpoints = root / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self.figures = root / "figures"
        self.report = root / "report.html"

    def holds_run(self) -> bool:
        """Say whether a run has been started here."""
        return any(p.exists() for p in (self.config, self.metrics, self.history, self.checkpoints))
