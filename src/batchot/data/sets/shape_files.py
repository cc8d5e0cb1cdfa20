"""Files of shapes under a folder, whatever else lies there, and how class folders divide them."""

from __future__ import annotations

import hashlib
import os
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from batchot.errors import DataError, ShapeError
from batchot.shapes.formats.archives import HDF5_ENDINGS, count_rows
from batchot.shapes.formats.cad import count_parts
from batchot.shapes.formats.read import ENDINGS, FOREIGN_ENDINGS, plain_text
from batchot.shapes.formats.read import kind_of as content_kind
from batchot.shapes.formats.table import kind_of_text
from batchot.shapes.library.generate import MANIFEST
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource
from batchot.workers.pool import Lost, ProcessPool
from batchot.workers.process import usable_cores

Kind = Literal["meshes", "points", "mixed"]
Prefer = Literal["meshes", "points", "any"]


@dataclass(frozen=True)
class ShapeCollection:
    """Shapes with their classes; nothing of them is read before it is asked for."""

    name: str  # the data set, e.g. ``"modelnet40"``
    classes: tuple[str, ...]  # name of each class; the labels of the shapes are indices into it
    train: tuple[ShapeSource, ...]  # shapes to learn from, at least one
    test: tuple[ShapeSource, ...]  # shapes to measure on; it may be empty
    kind: Kind  # what the shapes are: ``"meshes"``, ``"points"``, or ``"mixed"``
    folder: Path  # where they were found: a folder, or an archive
    left_out: tuple[str, ...] = ()  # a sentence for each file there that may hold a shape and is not read

    def __post_init__(self) -> None:
        if not self.train:
            raise DataError(f"{self.folder}: {self.name} has no training shape")
        for source in (*self.train, *self.test):
            if not 0 <= source.label < len(self.classes):
                raise DataError(
                    f"{self.name}: {source.name} has label {source.label}, "
                    f"but there are {len(self.classes)} classes"
                )
        names = Counter(source.name for source in (*self.train, *self.test))
        if twice := [name for name, count in names.items() if count > 1]:
            raise DataError(f"{self.name}: {len(twice)} names are there twice, such as {twice[0]}")

    def __len__(self) -> int:
        return len(self.train) + len(self.test)

    def only(self, classes: Sequence[str], name: str | None = None) -> ShapeCollection:
        """The shapes of some classes, which are numbered anew in the order given."""
        if unknown := [name for name in classes if name not in self.classes]:
            raise DataError(
                f"{self.name} has no class {', '.join(unknown)}; there are {', '.join(self.classes)}"
            )
        label = {self.classes.index(name): new for new, name in enumerate(classes)}
        train, test = (
            tuple(replace(source, label=label[source.label]) for source in part if source.label in label)
            for part in (self.train, self.test)
        )
        return ShapeCollection(name or self.name, tuple(classes), train, test, self.kind, self.folder)


SHAPE_ENDINGS = frozenset(ENDINGS)  # what a single file may end in
# Of these only files that begin as points do are shapes; others tell what the shapes are.
TEXT_ENDINGS = frozenset({".csv", ".tsv", ".txt"})
CLOUD_ENDINGS = frozenset(e for e, kind in ENDINGS.items() if kind in ("npy", "pcd", "text")) - TEXT_ENDINGS
MESH_ENDINGS = SHAPE_ENDINGS - CLOUD_ENDINGS - TEXT_ENDINGS - HDF5_ENDINGS
_REASON = "is packed, of a format that is not read, or a table whose columns are not called x, y and z"
NAMED = 5
_PASSED_OVER = frozenset({"__MACOSX", MANIFEST})
_PLY_HEADER_BYTES = 4096
_HEAD_BYTES = 1 << 16


@dataclass
class FoundFiles:
    """What lies under a folder."""

    folder: Path  # the folder
    # paths of files with the ending of a shape, below the folder, in the order of their names
    shapes: list[PurePosixPath] = field(default_factory=list)
    # paths of files with other endings, and of text to be read by people
    others: list[PurePosixPath] = field(default_factory=list)
    # paths of files that may hold shapes, but are not read: archives, formats of other programs, tables of numbers
    # without x, y and z
    unread: list[PurePosixPath] = field(default_factory=list)
    # folders that may not be listed, links that lead nowhere or back to where they are
    unreadable: list[PurePosixPath] = field(default_factory=list)

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence for each file that may hold a shape and is not read."""
        return tuple(f"{self.folder / path}: {_REASON}" for path in self.unread)

    def warn(self) -> None:
        """Say with warnings what was left out."""
        endings = Counter(path.suffix.lower() or "no ending" for path in self.others)
        counts = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(NAMED))
        unlike = f"do not have the ending of a shape ({counts}) or are text without points"
        for paths, what in (
            (self.others, f"files left out that {unlike}"),
            (self.unread, f"files left out that may hold shapes, each of which {_REASON}"),
            (self.unreadable, "folders or links left out that cannot be read or lead in a circle"),
        ):
            if paths:
                warnings.warn(f"{self.folder}: {len(paths)} {what}: {shorten(paths)}", stacklevel=4)


def find_shape_files(folder: Path) -> FoundFiles:
    """List all files with the ending of a shape under a folder, at any depth."""
    found = FoundFiles(folder)
    try:
        above = {_identity(place) for place in (folder.resolve(), *folder.resolve().parents)}
        os.scandir(folder).close()
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error
    _list(folder, PurePosixPath(), above, found)
    return found


def sources_of(
    paths: Sequence[Path], names: Sequence[str], up: Up, parts: bool = False, tolerance: float | None = None
) -> list[list[ShapeSource]]:
    """The shapes of each file: one, or each cloud of an HDF5 file, or, with ``parts``, each part of a STEP assembly."""
    counts = [1] * len(paths)
    for k, path in enumerate(paths):
        if path.suffix.lower() in HDF5_ENDINGS:
            with suppress(ShapeError, ImportError):  # said when it is read
                counts[k] = count_rows(path)
    if parts:
        steps = [k for k, path in enumerate(paths) if ENDINGS.get(path.suffix.lower()) == "step"]
        for k, count in zip(steps, _parts_of([paths[k] for k in steps]), strict=True):
            counts[k] = count
    shape = partial(ShapeSource, up=up, tolerance=tolerance)
    return [
        [shape(name, path)] if count < 2 else [shape(f"{name}#{k}", path, f"{k}") for k in range(count)]
        for name, path, count in zip(names, paths, counts, strict=True)
    ]


def _parts_of(paths: Sequence[Path]) -> list[int]:
    """How many parts each STEP file has, counted in processes, which damaged files may bring down."""
    with ProcessPool(PartCounter, usable_cores()) as pool:
        found = dict(pool.run(paths))
    counts = (found[k] for k in range(len(paths)))
    return [1 if isinstance(count, Lost) else count for count in counts]  # why is said when it is read


class PartCounter:
    """Counts the parts of STEP files."""

    def __call__(self, path: Path) -> int:
        """How many there are, 1 where the file cannot be read, which is said when it is read."""
        try:
            return count_parts(path.read_bytes(), "step")
        except (ShapeError, ImportError, OSError):
            return 1


def _found_as(path: Path) -> Literal["shapes", "unread", "others"]:
    """In which list of ``FoundFiles`` a file belongs."""
    ending = path.suffix.lower()
    if ending not in TEXT_ENDINGS:
        return "shapes" if ending in SHAPE_ENDINGS else "unread" if ending in FOREIGN_ENDINGS else "others"
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if len(head) == _HEAD_BYTES:
        head = head[: 1 + max(head.rfind(b"\n"), head.rfind(b"\r"))] or head
    try:
        if content_kind(head, ending) != "text":
            return "shapes"
        kind = kind_of_text(plain_text(head))
    except ShapeError:
        return "unread"
    return "shapes" if kind == "points" else "unread" if kind == "table" else "others"


def kind_of(sources: Iterable[ShapeSource]) -> Kind:
    """Whether shapes are meshes or point clouds, by their endings and, of PLY files, by their headers."""
    clouds = {_is_cloud(source) for source in sources}
    if len(clouds) == 2:
        return "mixed"
    return "points" if clouds == {True} else "meshes"


def name_shapes(paths: Sequence[PurePosixPath], parts: Sequence[str | None]) -> list[str]:
    """A readable name for each path: without the folder of its part and its ending where that is enough."""
    choices = []
    for path, part in zip(paths, parts, strict=True):
        at = path.parts.index(part, 0, 2) if part is not None else len(path.parts)
        short = PurePosixPath(*path.parts[:at], *path.parts[at + 1 :])
        # One accented letter may be written in two ways, and which one a disk gives depends on the machine.
        choices.append(
            (*(unicodedata.normalize("NFC", str(name)) for name in (short.with_suffix(""), short)), str(path))
        )
    counts = Counter(name for choice in choices for name in set(choice))
    return [next((name for name in choice if counts[name] == 1), choice[-1]) for choice in choices]


def shorten(items: Sequence[object]) -> str:
    """The first few of a list in words, and how many more there are."""
    more = f" and {len(items) - NAMED:,} more" if len(items) > NAMED else ""
    return ", ".join(str(item) for item in items[:NAMED]) + more


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


def choose_test(shapes: Iterable[tuple[str, str]], fraction: float, seed: int) -> frozenset[str]:
    """Choose by chance which of some (class, name) are kept for the test, of each class as large a share."""
    by_class: dict[str, list[str]] = defaultdict(list)
    for class_name, name in shapes:
        by_class[class_name].append(name)

    def place(name: str) -> bytes:
        # A name that is no text to the machine is one here, too.
        return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()

    chosen: list[str] = []
    for names in by_class.values():
        count = min(max(1, round(fraction * len(names))), len(names) - 1)
        chosen += sorted(names, key=place)[:count]
    return frozenset(chosen)


def _list(folder: Path, below: PurePosixPath, above: set[tuple[int, int]], found: FoundFiles) -> None:
    try:
        with os.scandir(folder) as entries:
            in_order = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        found.unreadable.append(below)
        return
    for entry in in_order:
        path = below / entry.name
        if entry.name.startswith(".") or entry.name in _PASSED_OVER:
            continue
        try:
            if entry.is_dir():
                identity = _identity(Path(entry.path))
                if identity in above:
                    found.unreadable.append(path)
                else:
                    _list(Path(entry.path), path, above | {identity}, found)
            elif not entry.is_file():
                found.unreadable.append(path)
            else:
                getattr(found, _found_as(Path(entry.path))).append(path)
        except OSError:  # links that lead to one another
            found.unreadable.append(path)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_cloud(source: ShapeSource) -> bool:
    if source.ending != ".ply" or source.member is not None:
        return source.is_row or source.ending not in MESH_ENDINGS
    try:
        with source.path.open("rb") as file:
            header = file.read(_PLY_HEADER_BYTES).split(b"end_header")[0]
    except OSError:
        return False
    faces = [
        line.split() for line in header.splitlines() if line.startswith((b"element face", b"element tri"))
    ]
    return not any(len(line) == 3 and line[2] != b"0" for line in faces)
