"""Folders of classes, divided into training and test or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from batchot.data.errors import DataError
from batchot.data.shape_files import shorten

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
LAYOUTS = "CLASS/FILE, CLASS/train/FILE and CLASS/test/FILE, or train/CLASS/FILE and test/CLASS/FILE"


def place_files(
    root: Path, paths: Sequence[PurePosixPath], what: str = "shapes"
) -> tuple[list[tuple[PurePosixPath, str, Part | None]], list[PurePosixPath]]:
    """Read class and part of files off the folders that they lie in.

    Args:
        root: the folder below which they lie, for messages.
        paths: of the files, below ``root``.
        what: the files are, for messages.

    Returns:
        Each file with its class and its part, ``None`` where nothing tells the part; and files without class.

    Raises:
        DataError: when there is a folder of one part only, or only some classes are divided into parts.

    Example:
        >>> from batchot.data.folder_layout import place_files
        >>> place_files(Path("."), [PurePosixPath("cup/train/1.off"), PurePosixPath("cup/test/2.off")])[0]
        [(PurePosixPath('cup/train/1.off'), 'cup', 'train'), (PurePosixPath('cup/test/2.off'), 'cup', 'test')]
    """
    tops = {path.parts[0] for path in paths if len(path.parts) > 1}
    split_tops = [part for part in PARTS if part in tops]
    # A folder train/ with files right in it is a class of trains.
    if split_tops and all(len(path.parts) > 2 for path in paths if path.parts[0] in split_tops):
        if len(split_tops) == 1:
            raise DataError(
                f"{root} has {what} in {split_tops[0]}/ but not in the other of train/ and test/; both or "
                "neither are needed"
            )
        return _sort_out(paths, class_at=1, part_at=0)
    divided = Counter(path.parts[0] for path in paths if len(path.parts) > 2 and path.parts[1] in PARTS)
    if divided:
        if whole := sorted(tops - set(divided)):
            raise DataError(
                f"{root}: the classes {shorten(whole)} have no train/ or test/, but {shorten(sorted(divided))} "
                "have; all or none are needed"
            )
        return _sort_out(paths, class_at=0, part_at=1)
    in_class = [path for path in paths if len(path.parts) > 1]
    left_out = [path for path in paths if len(path.parts) == 1]
    return [(path, path.parts[0], None) for path in in_class], left_out


def _sort_out(
    paths: Sequence[PurePosixPath], class_at: int, part_at: int
) -> tuple[list[tuple[PurePosixPath, str, Part | None]], list[PurePosixPath]]:
    placed: list[tuple[PurePosixPath, str, Part | None]] = []
    left_out: list[PurePosixPath] = []
    for path in paths:
        part = next((part for part in PARTS if len(path.parts) > 2 and path.parts[part_at] == part), None)
        if part is None:
            left_out.append(path)
        else:
            placed.append((path, path.parts[class_at], part))
    return placed, left_out
