"""How folders of classes are laid out, and how they are split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from batchot.data.sets.shape_files import shorten
from batchot.errors import DataError

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
LAYOUTS = "CLASS/FILE, CLASS/train/FILE and CLASS/test/FILE, or train/CLASS/FILE and test/CLASS/FILE"


def place_files(
    root: Path, paths: Sequence[PurePosixPath], what: str = "shapes"
) -> tuple[list[tuple[PurePosixPath, str, Part | None]], list[PurePosixPath]]:
    """Read class and part of files off the folders that they lie in."""
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


def choose_test(names: Sequence[str], fraction: float, seed: int) -> frozenset[str]:
    """Choose by chance which shapes of one class are kept for the test."""
    count = min(max(1, round(fraction * len(names))), len(names) - 1)

    def place(name: str) -> bytes:
        # A name that is no text to the machine is one here, too.
        return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()

    return frozenset(sorted(names, key=place)[: max(count, 0)])
