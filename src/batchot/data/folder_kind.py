"""Whether a folder holds shapes or images."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path, PurePath
from typing import Literal

from batchot.data.folder import IMAGE_ENDINGS
from batchot.data.shape_files import SHAPE_ENDINGS

_ENOUGH = 1_000


def folder_kind(root: Path) -> Literal["shape", "image"] | None:
    """Say which of the two most of the first thousand files are that are either.

    Args:
        root: the folder; files may lie at any depth.

    Returns:
        ``"shape"``, ``"image"``, or ``None`` where no file has the ending of either.

    Example:
        >>> import tempfile
        >>> from batchot.data.folder_kind import folder_kind
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "a.obj").touch()
        ...     folder_kind(Path(folder))
        'shape'
    """
    counts: Counter[Literal["shape", "image"]] = Counter()
    for _, folders, files in os.walk(root):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for file in files:
            ending = PurePath(file).suffix.lower()
            if ending in SHAPE_ENDINGS:
                counts["shape"] += 1
            elif ending in IMAGE_ENDINGS:
                counts["image"] += 1
        if counts.total() >= _ENOUGH:
            break
    return counts.most_common(1)[0][0] if counts else None
