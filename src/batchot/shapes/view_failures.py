"""The report of the shapes that could not be rendered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from batchot.shapes.atomic import write_whole

FailureKind = Literal["unreadable", "shape", "time", "crash"]


@dataclass(frozen=True)
class RenderFailure:
    """A shape that has no views.

    Args:
        name: of the shape.
        reason: in words.
        kind: ``"unreadable"``: there is no such file, or it may not be read; ``"shape"``: it is damaged;
            ``"time"``: it took longer than the limit; ``"crash"``: the process that drew it died, twice.
        path: of its file.
        member: of the file, if it is an archive.
        key: of its content and axis, see ``view_key``; empty if that cannot be read.
        seconds: the limit that it broke, 0 for other kinds.

    Example:
        >>> from batchot.shapes.view_failures import RenderFailure
        >>> str(RenderFailure("chair/7", "it has no faces", "shape", "chair/7.off"))
        'chair/7: it has no faces'
    """

    name: str
    reason: str
    kind: FailureKind
    path: str
    member: str | None = None
    key: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def read_failures(path: Path) -> list[RenderFailure]:
    """The failures of a report, none if there is none; lines that are damaged are left out.

    Args:
        path: of the report, JSON lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    failures = []
    for line in lines:
        try:
            failures.append(RenderFailure(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return failures


def write_failures(path: Path, failures: Iterable[RenderFailure]) -> None:
    """Write the report, or remove it where nothing failed.

    Args:
        path: of the report, JSON lines.
        failures: its lines.

    Raises:
        ViewCacheError: the disk is full or not writable.

    Example:
        >>> import tempfile
        >>> from batchot.shapes.view_failures import RenderFailure, read_failures, write_failures
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "failures.jsonl"
        ...     write_failures(path, [RenderFailure("a", "no faces", "shape", "a.off")])
        ...     [str(failure) for failure in read_failures(path)]
        ['a: no faces']
    """
    text = "".join(json.dumps(asdict(failure)) + "\n" for failure in failures)
    if text:
        write_whole(path, [text.encode()])
    else:
        path.unlink(missing_ok=True)
