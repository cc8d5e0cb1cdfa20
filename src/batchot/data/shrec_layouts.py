"""The forms in which SHREC'13 and SHREC'14 are at hand: folders and zip archives, nested as it happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from batchot.data.archives import is_clutter, list_archive
from batchot.data.errors import DataError
from batchot.data.folder import IMAGE_ENDINGS
from batchot.data.folder_layout import PARTS, Part
from batchot.data.shape_files import MESH_ENDINGS
from batchot.shapes.errors import ShapeError
from batchot.shapes.members import read_member

# Folders that hold a part of the benchmark even where "SHREC" is not in their names.
_PUBLISHED = ("trainingsketches", "testingsketches", "targetmodels", "sketchevaluation")
_NO_SKETCHES = ("targetmodel", "view", "render")
_NO_MODELS = ("sketches",)


@dataclass(frozen=True)
class FoundFile:
    """A file of the benchmark.

    Args:
        path: the file, or the zip archive that holds it.
        member: its name in the archive; ``None`` for a file of its own.
        place: where it lies below the folder that was searched; an archive counts as a folder.
    """

    path: Path
    member: str | None
    place: PurePosixPath

    @property
    def location(self) -> Path:
        """Path, and member if there is one, for messages."""
        return self.path if self.member is None else self.path / self.member

    def text(self) -> str:
        """Its text.

        Raises:
            DataError: when it cannot be read.
        """
        try:
            content = self.path.read_bytes() if self.member is None else read_member(self.path, self.member)
        except (OSError, ShapeError) as error:
            raise DataError(f"{self.location} cannot be read: {error}") from error
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("latin-1")


@dataclass(frozen=True)
class FoundSketch:
    """A sketch by its folders: class, part (``None`` where they do not tell) and number."""

    class_name: str
    part: Part | None
    number: str
    file: FoundFile


def find_files(folder: Path, year: int) -> tuple[FoundFile, ...]:
    """List the files of SHREC'13 or SHREC'14 in a folder, with what lies in zip archives.

    Taken is everything below a folder with ``SHREC13``, ``SHREC2013`` or the like in its name; else what lies
    in such folders and archives right in it, and its ``.cla`` and list files.

    Args:
        folder: the folder.
        year: 13 or 14.

    Returns:
        The files, in the order of their names.

    Raises:
        DataError: when an archive is damaged.
    """
    if not folder.is_dir():
        return ()
    found = list(_walk(folder, None if _is_of(folder.name, year) else _wanted_by(year)))
    if _is_of(folder.name, year) and folder.absolute().parent != folder.absolute():
        # The lists and the evaluation code are often unpacked beside the sketches.
        found += _walk(folder.absolute().parent, _is_list_of(year))
    return tuple(found)


def find_sketches(files: Iterable[FoundFile]) -> tuple[FoundSketch, ...]:
    """Pick the sketches: ``CLASS/train/NUMBER.png`` and ``CLASS/test/NUMBER.png``, at any depth.

    Without these folders a folder above with ``TRAINING`` or ``TESTING`` in its name tells the part, as in
    ``SHREC13_SBR_TRAINING_SKETCHES/CLASS/NUMBER.png``. A sketch that is there twice counts once.

    Example:
        >>> from batchot.data.shrec_layouts import FoundFile, find_sketches
        >>> place = PurePosixPath("SHREC14LSSTB_SKETCHES/dog/test/5298.png")
        >>> found = find_sketches([FoundFile(Path(place), None, place)])[0]
        >>> found.class_name, found.part, found.number
        ('dog', 'test', '5298')
    """
    sketches: dict[tuple[str, str], FoundSketch] = {}
    for file in files:
        above = file.place.parts[:-1]
        if file.place.suffix.lower() not in IMAGE_ENDINGS or not above or _mentions(above, _NO_SKETCHES):
            continue
        part = next((part for part in PARTS if len(above) > 1 and above[-1].lower() == part), None)
        if part is not None:
            class_name = above[-2]
        else:
            class_name, part = above[-1], _part_of_folder(above[:-1])
        sketch = FoundSketch(class_name, part, file.place.stem, file)
        sketches.setdefault((class_name, sketch.number), sketch)
    return tuple(sketches.values())


def find_models(files: Iterable[FoundFile]) -> tuple[FoundFile, ...]:
    """Pick the target models: ``m123.off``, ``M000123.off`` or meshes of other formats, at any depth."""
    return tuple(
        file
        for file in files
        if file.place.suffix.lower() in MESH_ENDINGS and not _mentions(file.place.parts[:-1], _NO_MODELS)
    )


def find_named(files: Iterable[FoundFile], name: str, ending: str) -> FoundFile | None:
    """Find the file ``*name*ending``, letters and digits compared only, of several the one of the shortest name."""
    matches = [
        file for file in files if file.place.suffix.lower() == ending and name in _plain(file.place.stem)
    ]
    return min(matches, key=lambda file: len(file.place.name), default=None)


def _walk(folder: Path, wanted: Callable[[str], bool] | None) -> Iterator[FoundFile]:
    """Files at any depth below; of what lies right in ``folder``, what is ``wanted`` by its name."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        here = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        top = parent == str(folder)
        if top and wanted is not None:
            folders[:] = [name for name in folders if wanted(name)]
            names = [name for name in names if wanted(name)]
        folders[:] = sorted(name for name in folders if not is_clutter(PurePosixPath(name)))
        for name in sorted(names):
            if is_clutter(PurePosixPath(name)):
                continue
            path = Path(parent) / name
            if path.suffix.lower() == ".zip":
                yield from _members(path, here / path.stem)
            else:
                yield FoundFile(path, None, here / name)


def _members(archive: Path, place: PurePosixPath) -> Iterator[FoundFile]:
    for member in list_archive(archive):
        if not member.endswith("/") and not is_clutter(PurePosixPath(member)):
            yield FoundFile(archive, member, place / member)


def _wanted_by(year: int) -> Callable[[str], bool]:
    def wanted(name: str) -> bool:
        plain = _plain(name)
        return (
            _is_of(name, year)
            or name.lower() in LISTS
            or (any(word in plain for word in _PUBLISHED) and not _is_of(name, 27 - year))
        )  # fmt: skip

    return wanted


def _is_list_of(year: int) -> Callable[[str], bool]:
    def wanted(name: str) -> bool:
        return _is_of(name, year) and any(word in _plain(name) for word in ("list", "evaluation", "cla"))

    return wanted


def _is_of(name: str, year: int) -> bool:
    return any(word in _plain(name) for word in (f"shrec{year}", f"shrec20{year}"))


def _mentions(folders: Iterable[str], words: tuple[str, ...]) -> bool:
    return any(word in _plain(folder) for folder in folders for word in words)


def _part_of_folder(folders: tuple[str, ...]) -> Part | None:
    for folder in reversed(folders):
        plain = _plain(folder)
        if "train" in plain:
            return "train"
        if "test" in plain:
            return "test"
    return None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


LISTS = ("sketchtrain.txt", "sketchtest.txt", "shape.txt")
"""The authors' list files, in small letters."""
