"""The Princeton Shape Benchmark, with its .cla files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from batchot.data.sets.places import missing_data, search_places
from batchot.data.sets.shape_files import SHAPE_ENDINGS, Part, ShapeCollection, find_shape_files, shorten
from batchot.data.sets.shape_folder import divide
from batchot.errors import DataError
from batchot.shapes.shape import Up
from batchot.shapes.source import ShapeSource

ROOT = "0"


@dataclass(frozen=True)
class PsbClass:
    """A class: its name, that of the class above it (``None`` at the top), and its own models."""

    name: str
    parent: str | None
    models: tuple[str, ...]


@dataclass(frozen=True)
class Classification:
    """The classes of a ``.cla`` file, each after the class above it."""

    path: Path
    classes: tuple[PsbClass, ...]

    def ancestors(self, name: str) -> tuple[str, ...]:
        """The classes from the top down to ``name``, which is the last."""
        parents = {entry.name: entry.parent for entry in self.classes}
        line = [name]
        while (parent := parents[line[0]]) is not None:
            line.insert(0, parent)
        return tuple(line)

    def labelled(self, level: int | None = None) -> tuple[tuple[str, str], ...]:
        return tuple(
            (model, self.ancestors(entry.name)[:level][-1])
            for entry in self.classes
            for model in entry.models
        )


def read_cla(path: Path) -> Classification:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return parse_cla(text, path)


def parse_cla(text: str, path: Path) -> Classification:
    words = _Words(text, path)
    if (word := words.next("'PSB'")) != "PSB":
        raise words.error(f"expected 'PSB' as the first word of a .cla file, got {word[:40]!r}")
    if (version := words.number("the version of the format")) != 1:
        raise words.error(f"the format is version {version}, only version 1 is known")
    class_count = words.number("the number of classes")
    model_count = words.number("the number of models")
    classes: list[PsbClass] = []
    names: set[str] = set()
    for k in range(class_count):
        name = words.next(f"the name of class {k + 1} of {class_count}")
        if name in names or name == ROOT:
            raise words.error(
                f"the class {name!r} is there twice" if name in names else "no class may be '0'"
            )
        parent = words.next(f"the class above {name!r}, or {ROOT}")
        if parent != ROOT and parent not in names:
            raise words.error(f"the class {parent!r} above {name!r} must be defined before it")
        count = words.number(f"the number of models of the class {name!r}")
        models = tuple(words.next(f"model {i + 1} of {count} of the class {name!r}") for i in range(count))
        names.add(name)
        classes.append(PsbClass(name, None if parent == ROOT else parent, models))
    if (left := next(words.words, None)) is not None:
        words.line = left[0]
        raise words.error(f"expected the end after {class_count} classes, got {left[1]!r}")
    if (there := sum(len(entry.models) for entry in classes)) != model_count:
        raise words.error(f"the file announces {model_count} models and lists {there}")
    return Classification(path, tuple(classes))


class _Words:
    """The words of the text, one after the other, with the line in which the last one stands."""

    def __init__(self, text: str, path: Path) -> None:
        self.path = path
        self.line = 1
        self.words: Iterator[tuple[int, str]] = (
            (number, word) for number, line in enumerate(text.splitlines(), 1) for word in line.split()
        )

    def error(self, text: str) -> DataError:
        return DataError(f"{self.path}, line {self.line}: {text}")

    def next(self, what: str) -> str:
        found = next(self.words, None)
        if found is None:
            raise DataError(f"{self.path} ends after line {self.line}: expected {what}; it is not whole")
        self.line, word = found
        return word

    def number(self, what: str) -> int:
        word = self.next(what)
        if not (word.isascii() and word.isdigit() and len(word) < 19):
            raise self.error(f"expected {what}, got {word[:40]!r}")
        return int(word)


PSB_UP: Up = "y"
_PREFERRED = {".off": 0, ".obj": 1, ".ply": 2, ".stl": 3}


def load_psb(
    root: Path | None = None,
    *,
    classification: str = "base",
    level: int | None = None,
    seed: int = 0,
    test_fraction: float = 0.2,
    min_class: int = 1,
    up: Up = "auto",
) -> ShapeCollection:
    """Load the Princeton Shape Benchmark, or models sorted by ``.cla`` files as it has them."""
    if level is not None and level < 1:
        raise DataError(f"level must be at least 1, the classes at the top, got {level}")
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    places = search_places("psb", root)
    found = next((found for place in places if (found := _find_cla(place, classification)) is not None), None)
    if found is None:
        contents = f"classification/v1/{classification}/train.cla and test.cla, or one .cla file"
        raise missing_data("psb", contents, places, "it is not offered for download by this package")
    folder, files = found
    models = _index_models(folder)
    axis: Up = PSB_UP if up == "auto" else up
    shapes: list[tuple[str, Part | None, ShapeSource]] = []
    missing: list[str] = []
    for part, path in files:
        for model, class_name in read_cla(path).labelled(level):
            if (file := models.get(model_key(model))) is None:
                missing.append(model)
            else:
                shapes.append(
                    (class_name, part, ShapeSource(f"{class_name}/{model_key(model)}", file, up=axis))
                )
    if not shapes:
        raise DataError(
            f"none of the {len(missing):,} models that {files[0][1]} names is below {folder}: "
            f"{shorten(missing)}; expected files such as m86.off, at any depth"
        )
    if missing:
        warnings.warn(
            f"{folder}: {len(missing):,} of {len(missing) + len(shapes):,} models are missing and left out: "
            f"{shorten(missing)}",
            stacklevel=2,
        )
    return divide("psb", folder, shapes, seed=seed, test_fraction=test_fraction, min_class=min_class)


def _find_cla(place: Path, classification: str) -> tuple[Path, list[tuple[Part | None, Path]]] | None:
    """The folder with everything in it, and the ``.cla`` files in or below it, each with its part."""
    for folder in (place, place / "benchmark", place / "psb_v1" / "benchmark"):
        classifications = folder / "classification"
        for files in (classifications / "v1" / classification, classifications / classification, folder):
            train, test = files / "train.cla", files / "test.cla"
            if train.is_file() and test.is_file():
                return folder, [("train", train), ("test", test)]
        single = sorted(path for path in folder.glob("*.cla") if not path.name.startswith("."))
        if len(single) == 1:
            return folder, [(None, single[0])]
        if single:
            raise DataError(
                f"{folder} has {len(single)} .cla files ({shorten([path.name for path in single])}); "
                "expected one, or train.cla and test.cla"
            )
    return None


def _index_models(folder: Path) -> dict[str, Path]:
    """The file of each model by the key of its name; of several formats OFF goes first, then OBJ."""
    place = folder / "db" if (folder / "db").is_dir() else folder
    found = sorted(find_shape_files(place).shapes, key=lambda path: _PREFERRED.get(path.suffix.lower(), 4))
    return {model_key(path.name): place / path for path in reversed(found)}


def model_key(model: str) -> str:
    """The same for all ways to write the name of a model."""
    path = PurePosixPath(model)
    stem = path.stem if path.suffix.lower() in SHAPE_ENDINGS else model
    digits = stem[1:] if stem[:1] in ("m", "M") else stem
    return str(int(digits)) if digits.isascii() and digits.isdigit() else stem
