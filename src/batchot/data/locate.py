"""Where data sets are looked for: ``--data-root``, then ``$BATCHOT_DATA``, then the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import pooch

from batchot.data.errors import DataError

DATA_ROOT_VARIABLE = "BATCHOT_DATA"


def cache_folder() -> Path:
    """The user's cache folder of this package; it need not exist yet.

    Example:
        >>> from batchot.data.locate import cache_folder
        >>> cache_folder().name
        'batchot'
    """
    return Path(pooch.os_cache("batchot"))


def search_places(name: str, data_root: Path | None) -> list[Path]:
    """Folders in which the data set ``name`` may lie, best first; the last one is where downloads go.

    Args:
        name: the data set, which is also the name of its folder.
        data_root: the folder that the user gave, if any.

    Returns:
        ``data_root/name`` and ``data_root``, the same two under ``$BATCHOT_DATA``, and ``name`` in the cache
        folder.

    Raises:
        DataError: when a folder that the user named does not exist; going on without it would hide a typing
            error.

    Example:
        >>> from pathlib import Path
        >>> from batchot.data.locate import search_places
        >>> search_places("mnist", Path("."))[:2]
        [PosixPath('mnist'), PosixPath('.')]
    """
    roots: list[tuple[str, Path]] = []
    if data_root is not None:
        roots.append(("--data-root", Path(data_root)))
    if from_environment := os.environ.get(DATA_ROOT_VARIABLE):
        roots.append((DATA_ROOT_VARIABLE, Path(from_environment)))
    for said_by, root in roots:
        if not root.is_dir():
            raise DataError(
                f"{said_by} names {root}, which is not a folder; give the folder that holds {name}/, "
                f"or leave {said_by} out to look in {cache_folder()}"
            )
    places = [place for _, root in roots for place in (root / name, root)]
    return [*places, cache_folder() / name]


def missing_data(name: str, contents: str, places: list[Path], download_failure: str) -> DataError:
    """The error for a data set that is nowhere.

    Args:
        name: the data set.
        contents: the files that would have been taken, in words.
        places: folders that were looked at.
        download_failure: why it was not downloaded, in words.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> from pathlib import Path
        >>> from batchot.data.locate import missing_data
        >>> print(missing_data("mnist", "the four IDX files", [Path("data")], "download=False"))
        mnist was not found: looked for the four IDX files in
          data
        and it was not downloaded: download=False.
        If you have it, give its folder with --data-root FOLDER or set BATCHOT_DATA=FOLDER.
    """
    looked_at = "\n".join(f"  {place}" for place in places)
    return DataError(
        f"{name} was not found: looked for {contents} in\n{looked_at}\n"
        f"and it was not downloaded: {download_failure}.\n"
        f"If you have it, give its folder with --data-root FOLDER or set {DATA_ROOT_VARIABLE}=FOLDER."
    )
