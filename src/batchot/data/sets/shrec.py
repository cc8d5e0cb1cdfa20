"""SHREC'13 and SHREC'14: sketches, shapes, and the lists of their splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from batchot.data.batches.paired import class_key
from batchot.data.samples import Images, Splits
from batchot.data.sets.pictures import IMAGE_ENDINGS
from batchot.data.sets.places import is_clutter, list_archive, missing_data, search_places
from batchot.data.sets.psb import model_key, parse_cla
from batchot.data.sets.shape_files import MESH_ENDINGS, PARTS, Part, ShapeCollection, kind_of, shorten
from batchot.data.sets.sketches import SketchFile, load_sketch_files, warn_user
from batchot.errors import DataError, ShapeError, Tell
from batchot.files import walk
from batchot.shapes.formats.archives import read_member
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource


@dataclass(frozen=True)
class Listed:
    """A sketch or shape that a list names."""

    class_name: str  # its class
    number: str  # name of its file without ending, such as ``"5281"`` or ``"M000003"``
    part: Part | None = None  # training or test; ``None`` where the list does not divide

    def __str__(self) -> str:
        return "/".join(word for word in (self.class_name, self.part, self.number) if word)


@dataclass(frozen=True)
class Lists:
    """All that lists say of one kind of thing."""

    files: tuple[str, ...]  # names of the files, for messages
    items: tuple[Listed, ...]  # what they name


def parse_list(text: str, path: Path) -> tuple[Listed, ...]:
    """Read a list file: in each line a path and a label, of the path the last folders and the name count."""
    items: list[Listed] = []
    class_of: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        words = line.rsplit(maxsplit=1)
        if len(words) != 2 or not (words[1].isascii() and words[1].isdigit() and len(words[1]) < 19):
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
    """Read the division of the sketches from ``sketchTrain.txt`` and ``sketchTest.txt``, or such ``.cla`` files."""
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
    """Read the classes of the shapes: ``*Model.cla``, else ``shape.txt``."""
    file = find_named(files, "model", ".cla") or find_named(files, "shape", ".txt")
    return None if file is None else Lists((file.place.name,), _items(file))


def compare(
    listed: Mapping[str, Listed],
    there: Mapping[str, FoundFile],
    what: str,
    names: Iterable[str],
    place: Path,
    tell: Tell,
) -> None:
    """Count and name what is listed but missing, and what is there but not listed."""
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


# Folders that hold a part of the benchmark even where "SHREC" is not in their names.
_PUBLISHED = ("trainingsketches", "testingsketches", "targetmodels", "sketchevaluation")
_NO_SKETCHES = ("targetmodel", "view", "render")
_NO_MODELS = ("sketches",)


@dataclass(frozen=True)
class FoundFile:
    """A file of the benchmark."""

    path: Path  # the file, or the zip archive that holds it
    member: str | None  # its name in the archive; ``None`` for a file of its own
    place: PurePosixPath  # where it lies below the folder that was searched; an archive counts as a folder

    @property
    def location(self) -> Path:
        """Path, and member if there is one, for messages."""
        return self.path if self.member is None else self.path / self.member

    def text(self) -> str:
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
    """List the files of SHREC'13 or SHREC'14 in a folder, with what lies in zip archives."""
    if not folder.is_dir():
        return ()
    found = list(_walk(folder, None if _is_of(folder.name, year) else partial(_is_wanted, year)))
    if _is_of(folder.name, year) and folder.absolute().parent != folder.absolute():
        # The lists and the evaluation code are often unpacked beside the sketches.
        found += _walk(folder.absolute().parent, partial(_is_list, year))
    return tuple(found)


def find_sketches(files: Iterable[FoundFile]) -> tuple[FoundSketch, ...]:
    """Pick the sketches: ``CLASS/train/NUMBER.png`` and ``CLASS/test/NUMBER.png``, at any depth."""
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
        file for file in files if file.place.suffix.lower() == ending and name in class_key(file.place.stem)
    ]
    return min(matches, key=lambda file: len(file.place.name), default=None)


def _walk(folder: Path, wanted: Callable[[str], bool] | None) -> Iterator[FoundFile]:
    """Files at any depth below; of what lies right in ``folder``, what is ``wanted`` by its name."""
    for parent, folders, names in walk(folder):
        here = PurePosixPath(parent.relative_to(folder).as_posix())
        if parent == folder and wanted is not None:
            folders[:] = [name for name in folders if wanted(name)]
            names = [name for name in names if wanted(name)]
        folders[:] = [name for name in folders if not is_clutter(PurePosixPath(name))]
        for name in names:
            if is_clutter(PurePosixPath(name)):
                continue
            path = parent / name
            if path.suffix.lower() == ".zip":
                yield from _members(path, here / path.stem)
            else:
                yield FoundFile(path, None, here / name)


def _members(archive: Path, place: PurePosixPath) -> Iterator[FoundFile]:
    for member in list_archive(archive):
        if not member.endswith("/") and not is_clutter(PurePosixPath(member)):
            yield FoundFile(archive, member, place / member)


def _is_wanted(year: int, name: str) -> bool:
    published = any(word in class_key(name) for word in _PUBLISHED) and not _is_of(name, 27 - year)
    return published or _is_of(name, year) or name.lower() in LISTS


def _is_list(year: int, name: str) -> bool:
    return _is_of(name, year) and any(word in class_key(name) for word in ("list", "evaluation", "cla"))


def _is_of(name: str, year: int) -> bool:
    return any(word in class_key(name) for word in (f"shrec{year}", f"shrec20{year}"))


def _mentions(folders: Iterable[str], words: tuple[str, ...]) -> bool:
    return any(word in class_key(folder) for folder in folders for word in words)


def _part_of_folder(folders: tuple[str, ...]) -> Part | None:
    for folder in reversed(folders):
        plain = class_key(folder)
        if "train" in plain:
            return "train"
        if "test" in plain:
            return "test"
    return None


LISTS = ("sketchtrain.txt", "sketchtest.txt", "shape.txt")
"""The authors' list files, in small letters."""


Year = Literal[13, 14]
Found = TypeVar("Found", FoundFile, FoundSketch)
SKETCH_COUNTS: dict[Year, tuple[int, int]] = {13: (4_500, 2_700), 14: (8_550, 5_130)}
SHAPE_COUNTS: dict[Year, int] = {13: 1_258, 14: 8_987}
CLASS_COUNTS: dict[Year, int] = {13: 90, 14: 171}
MODELS_UP: Up = "y"
_NO_DOWNLOAD = "it is not offered for download by this package"


def load_shrec_sketches(
    year: Year, data_root: Path | None = None, *, size: int = 128, tell: Tell = warn_user
) -> Splits[Images]:
    """Find the sketches of SHREC'13 or '14 (B. Li et al., 3DOR 2013 and 2014), unpacked or in zip archives,
    divided as lists beside them say, else as their folders do."""
    published = (
        "SHREC13_SBR_TRAINING_SKETCHES and SHREC13_SBR_TESTING_SKETCHES"
        if year == 13
        else "SHREC14LSSTB_SKETCHES"
    )
    contents = f"{published} with CLASS/train/NUMBER.png and CLASS/test/NUMBER.png, folders or zip archives"
    place, found, sketches = _first_place(year, data_root, find_sketches, contents)
    lists = sketch_lists(found)
    files = (
        _divided(sketches, place, tell) if lists is None else _listed_sketches(sketches, lists, place, tell)
    )
    splits = load_sketch_files(f"shrec{year}", files, size=size, tell=tell)
    counts = (len(splits.train), len(splits.test))
    if counts != SKETCH_COUNTS[year]:
        train, test = SKETCH_COUNTS[year]
        tell(
            f"{place} gives {counts[0]:,} training and {counts[1]:,} test sketches in "
            f"{len(splits.train.classes)} classes, SHREC'{year} has {train:,} and {test:,} in "
            f"{CLASS_COUNTS[year]}: scores on it are not SHREC scores"
        )
    return splits


def load_shrec_shapes(
    year: Year, data_root: Path | None = None, *, up: Up = "auto", tell: Tell = warn_user
) -> ShapeCollection:
    """Find the target models of SHREC'13 or '14, all as training shapes: the benchmark learns from, and
    searches in, the same ones."""
    published = "SHREC13_SBR_TARGET_MODELS" if year == 13 else "SHREC14LSSTB_TARGET_MODELS"
    contents = f"{published} with .off models, a folder or a zip archive"
    place, found, models = _first_place(year, data_root, find_models, contents)
    lists = shape_lists(found)
    if lists is None:
        class_of = _classes_by_folder(models, place, year)
        by_key = {str(file.place.with_suffix("")): file for file in reversed(models)}
    else:
        class_of = {model_key(item.number): item for item in lists.items}
        # Of two files of one model the first stays.
        by_key = {model_key(file.place.name): file for file in reversed(models)}
        compare(class_of, by_key, "models", lists.files, place, tell)
    axis: Up = MODELS_UP if up == "auto" else up
    kept = sorted(
        ((item, by_key[key]) for key, item in class_of.items() if key in by_key),
        key=lambda pair: (pair[0].class_name, pair[1].place.stem, str(pair[1].place)),
    )
    classes = tuple(sorted({item.class_name for item, _ in kept}))
    sources = tuple(
        ShapeSource(
            f"{item.class_name}/{file.place.stem}",
            file.path,
            file.member,
            label=classes.index(item.class_name),
            up=axis,
        )
        for item, file in kept
    )
    if len(sources) != SHAPE_COUNTS[year]:
        tell(
            f"{place} gives {len(sources):,} models in {len(classes)} classes, SHREC'{year} has "
            f"{SHAPE_COUNTS[year]:,} in {CLASS_COUNTS[year]}: scores on it are not SHREC scores"
        )
    return ShapeCollection(f"shrec{year}", classes, sources, (), kind_of(sources), place)


def _first_place(
    year: Year,
    data_root: Path | None,
    pick: Callable[[tuple[FoundFile, ...]], tuple[Found, ...]],
    contents: str,
) -> tuple[Path, tuple[FoundFile, ...], tuple[Found, ...]]:
    """The first folder with what is looked for, all files of the benchmark in it, and those that are picked."""
    places = search_places(f"shrec{year}", data_root)
    for place in places:
        files = find_files(place, year)
        if picked := pick(files):
            return place, files, picked
    raise missing_data(f"shrec{year}", contents, places, _NO_DOWNLOAD)


def _divided(sketches: Sequence[FoundSketch], place: Path, tell: Tell) -> list[SketchFile]:
    if undivided := [sketch.file.place for sketch in sketches if sketch.part is None]:
        text = (
            f"{place}: {len(undivided):,} sketches lie neither in train/ nor in test/ and no list tells their "
            f"part: {shorten(undivided)}"
        )
        if len(undivided) == len(sketches):
            raise DataError(f"{text}; put sketchTrain.txt and sketchTest.txt, or the .cla files, beside them")
        tell(f"{text}; they are left out")
    return [
        SketchFile(_name(sketch), sketch.class_name, sketch.part, sketch.file.path, sketch.file.member)
        for sketch in sketches
        if sketch.part is not None
    ]


def _listed_sketches(
    sketches: Sequence[FoundSketch], lists: Lists, place: Path, tell: Tell
) -> list[SketchFile]:
    listed: dict[str, Listed] = {f"{class_key(item.class_name)}/{item.number}": item for item in lists.items}
    there: dict[str, FoundSketch] = {
        f"{class_key(sketch.class_name)}/{sketch.number}": sketch for sketch in sketches
    }
    compare(listed, {key: sketch.file for key, sketch in there.items()}, "sketches", lists.files, place, tell)
    files: list[SketchFile] = []
    moved: list[str] = []
    for key, sketch in there.items():
        item = listed.get(key)
        if item is None or item.part is None:
            continue
        if sketch.part not in (None, item.part):
            moved.append(str(sketch.file.place))
        files.append(
            SketchFile(_name(sketch), sketch.class_name, item.part, sketch.file.path, sketch.file.member)
        )
    if moved:
        tell(
            f"{place}: {len(moved):,} sketches lie in the folder of the other part than {' and '.join(lists.files)} "
            f"say, and the lists are followed: {shorten(moved)}"
        )
    return files


def _classes_by_folder(models: Sequence[FoundFile], place: Path, year: Year) -> dict[str, Listed]:
    folders = {file.place.parent for file in models}
    if len(folders) < 2:
        raise DataError(
            f"{place}: {len(models):,} models are there, but nothing tells their classes; put "
            f"SHREC{year}_SBR_Model.cla beside them, which comes with the evaluation code of the track"
        )
    return {
        str(file.place.with_suffix("")): Listed(file.place.parent.name, file.place.stem) for file in models
    }


def _name(sketch: FoundSketch) -> str:
    return f"{sketch.class_name}/{sketch.number}"
