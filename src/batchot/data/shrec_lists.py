"""What list files and ``.cla`` files say of sketches and shapes: class, and training or test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from batchot.data.errors import DataError
from batchot.data.folder_layout import PARTS, Part
from batchot.data.psb_cla import parse_cla
from batchot.data.shape_files import shorten
from batchot.data.shrec_layouts import FoundFile, find_named


@dataclass(frozen=True)
class Listed:
    """A sketch or shape that a list names.

    Args:
        class_name: its class.
        number: name of its file without ending, such as ``"5281"`` or ``"M000003"``.
        part: training or test; ``None`` where the list does not divide.
    """

    class_name: str
    number: str
    part: Part | None = None

    def __str__(self) -> str:
        return "/".join(word for word in (self.class_name, self.part, self.number) if word)


@dataclass(frozen=True)
class Lists:
    """All that lists say of one kind of thing.

    Args:
        files: names of the files, for messages.
        items: what they name.
    """

    files: tuple[str, ...]
    items: tuple[Listed, ...]


def parse_list(text: str, path: Path) -> tuple[Listed, ...]:
    """Read a list file: in each line a path and a label, of the path the last folders and the name count.

    Args:
        text: of the file; lines such as ``/data/dog/train/5281.mat 44`` or ``max/dog/M000003.mat 44``.
        path: of the file, for messages.

    Returns:
        Class, name and, where the path has it, part of each.

    Raises:
        DataError: on a line that is not so, or a label that stands for two classes.

    Example:
        >>> from batchot.data.shrec_lists import parse_list
        >>> [str(item) for item in parse_list("/data/dog/train/5281.mat 44\\n", Path("sketchTrain.txt"))]
        ['dog/train/5281']
    """
    items: list[Listed] = []
    class_of: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        words = line.rsplit(maxsplit=1)
        if len(words) != 2 or not (words[1].isascii() and words[1].isdigit()):
            raise DataError(f"{path}, line {number}: expected a path and a label, got {line[:80]!r}")
        place = PurePosixPath(words[0].replace("\\", "/"))
        above = place.parts[:-1]
        part = next((part for part in PARTS if above and above[-1].lower() == part), None)
        if len(above) < (1 if part is None else 2):
            raise DataError(
                f"{path}, line {number}: expected .../CLASS/NAME or .../CLASS/train/NAME, got {words[0]!r}"
            )
        class_name = above[-1] if part is None else above[-2]
        if class_of.setdefault(int(words[1]), class_name) != class_name:
            raise DataError(
                f"{path}, line {number}: the label {words[1]} stands for {class_of[int(words[1])]} "
                f"further up, here for {class_name}"
            )
        items.append(Listed(class_name, place.stem, part))
    return tuple(items)


def sketch_lists(files: Sequence[FoundFile]) -> Lists | None:
    """Read the division of the sketches: ``sketchTrain.txt`` and ``sketchTest.txt``, else ``*Sketch_Train.cla``
    and ``*Sketch_Test.cla``.

    Returns:
        The lists, or ``None`` where neither pair is there.

    Raises:
        DataError: when one is malformed.
    """
    for ending in (".txt", ".cla"):
        found = [(part, find_named(files, f"sketch{part}", ending)) for part in PARTS]
        if all(file is not None for _, file in found):
            items: list[Listed] = []
            for part, file in found:
                assert file is not None
                items += [Listed(item.class_name, item.number, part) for item in _items(file)]
            return Lists(tuple(file.place.name for _, file in found if file is not None), tuple(items))
    return None


def shape_lists(files: Sequence[FoundFile]) -> Lists | None:
    """Read the classes of the shapes: ``*Model.cla``, else ``shape.txt``.

    Returns:
        The list, or ``None`` where neither is there.

    Raises:
        DataError: when it is malformed.
    """
    file = find_named(files, "model", ".cla") or find_named(files, "shape", ".txt")
    return None if file is None else Lists((file.place.name,), _items(file))


def compare(
    listed: Mapping[str, Listed],
    there: Mapping[str, FoundFile],
    what: str,
    names: Iterable[str],
    place: Path,
    tell: Callable[[str], None],
) -> None:
    """Count and name what is listed but missing, and what is there but not listed.

    Args:
        listed: what lists name, by a key.
        there: what is there, by the same keys.
        what: they are, for messages.
        names: of the lists.
        place: where all of it was found.
        tell: told in a sentence each.

    Raises:
        DataError: when nothing is both.
    """
    missing = [item for key, item in listed.items() if key not in there]
    unlisted = [file.place for key, file in there.items() if key not in listed]
    by = " and ".join(names)
    if len(missing) == len(listed):
        raise DataError(
            f"{place}: none of the {len(listed):,} {what} that {by} name is among the {len(there):,} there, "
            f"such as {shorten(unlisted)}; these lists are of other data, take them away"
        )
    if missing:
        tell(
            f"{place}: {len(missing):,} of {len(listed):,} {what} that {by} name are missing: {shorten(missing)}"
        )
    if unlisted:
        tell(f"{place}: {len(unlisted):,} {what} that {by} do not name are left out: {shorten(unlisted)}")


def _items(file: FoundFile) -> tuple[Listed, ...]:
    if file.place.suffix.lower() == ".txt":
        return parse_list(file.text(), file.location)
    pairs = parse_cla(file.text(), file.location).labelled()
    return tuple(Listed(class_name, PurePosixPath(name).stem) for name, class_name in pairs)
