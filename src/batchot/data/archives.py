"""What lies in zip archives that are read in place."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePath

from batchot.data.errors import DataError
from batchot.shapes.errors import ShapeError
from batchot.shapes.members import open_archive


def list_archive(path: Path) -> list[str]:
    """Names of all members of an archive.

    Raises:
        DataError: when it is damaged or half downloaded.
    """
    try:
        return open_archive(path).namelist()
    except (OSError, zipfile.BadZipFile, ShapeError) as error:
        raise DataError(
            f"{path} is damaged or half downloaded ({error}, {path.stat().st_size:,} bytes are there). "
            "Delete it and run again, or download it again."
        ) from error


def is_clutter(place: PurePath) -> bool:
    """Whether a file is hidden, or was left by another machine.

    Example:
        >>> from batchot.data.archives import is_clutter
        >>> is_clutter(PurePath("__MACOSX/chair/._1.off")), is_clutter(PurePath("chair/1.off"))
        (True, False)
    """
    return any(part.startswith(".") or part == "__MACOSX" for part in place.parts)
