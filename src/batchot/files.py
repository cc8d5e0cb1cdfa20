"""Files that are whole or not there: written beside their place, then renamed into it; and those of a run."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Any, TypeVar

from batchot.errors import RunError


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`os.walk`, also through links, but not through those that lead back to a folder above them."""
    for parent, folders, files in os.walk(root, followlinks=True):
        place = Path(parent)
        real = place.resolve()
        folders[:] = sorted(name for name in folders if not real.is_relative_to((place / name).resolve()))
        yield place, folders, sorted(files)


def page_style() -> str:
    """Give the style sheet of reports and answers."""
    return (resources.files("batchot") / "page.css").read_text(encoding="utf-8")


DAMAGED_ARCHIVE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises of an .npz file that is cut short, was changed, or is another file."""


def stamp_of(path: Path) -> tuple[int, ...]:
    """What tells a file from what it was; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def picture_file(image: Any, kind: str = "png", **how: Any) -> bytes:
    """Give the file of a picture of Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


class ViewCacheError(RuntimeError):
    """Views cannot be kept or read; the message names the folder or file and says what to do."""


def write_whole(path: Path, parts: Iterable[bytes | memoryview], temporary: Path | None = None) -> None:
    """Write a file whole or not at all: into a temporary file, on to the disk, then renamed."""
    temporary = temporary or _beside(path)
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        _write(path, temporary, lambda file: file.writelines(parts))
    except OSError as error:
        raise ViewCacheError(
            f"cannot write in the folder {path.parent}: {error.strerror or error}; make room on that disk or "
            "choose another folder (what was kept there before is untouched)"
        ) from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then renamed over it."""
    try:
        _write(path, _beside(path), write)
    except OSError as error:
        kept = f"; the previous {path.name} is untouched" if path.exists() else ""
        raise RunError(f"cannot write {path}: {error.strerror or error}{kept}") from error


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def _write(path: Path, temporary: Path, write: Callable[[IO[bytes]], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # On a disk that has gone or is read-only this fails too, and it is the first error that tells more.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
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


Row = TypeVar("Row")


def read_csv(path: Path, read: Callable[[dict[str, str]], Row]) -> tuple[Row, ...]:
    """Read the rows of a CSV file with a header, none where there is no file."""
    if not path.is_file():
        return ()
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for number, cells in enumerate(csv.DictReader(file), start=2):
            try:
                rows.append(read(cells))
            except (ValueError, TypeError) as error:
                raise RunError(f"{path}, line {number}: {error}; the file was changed or damaged") from error
    return tuple(rows)


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
        # what a report is made from: of one tower, and of several
        self.items, self.cross_items = root / "test_items.npz", root / "cross_items.npz"

    def check(self) -> None:
        """Refuse a folder that is none of a run."""
        if not self.config.is_file():
            raise RunError(f"{self.root} is no run folder: it has no config.yaml")

    def holds_run(self) -> bool:
        """Say whether a run has been started here."""
        return any(p.exists() for p in (self.config, self.metrics, self.history, self.checkpoints))
