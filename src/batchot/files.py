"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path


class ViewCacheError(RuntimeError):
    """Views cannot be kept or read; the message names the folder or file and says what to do."""


def write_whole(path: Path, parts: Sequence[bytes | memoryview], temporary: Path | None = None) -> None:
    """Write a file whole or not at all: into a temporary file, on to the disk, then renamed."""
    temporary = temporary or path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        for folder in (path.parent, temporary.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise ViewCacheError(
            f"cannot write in the folder {path.parent}: {error.strerror or error}; make room on that disk or "
            "choose another folder (what was kept there before is untouched)"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: Path) -> None:
    # On a disk that has gone or is read-only this fails too, and it is the first error that tells more.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
