"""Classification files of the Princeton Shape Benchmark, ``.cla``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchot.data.errors import DataError

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
        """The classes from the top down to ``name``, which is the last.

        Example:
            >>> from batchot.data.psb_cla import parse_cla
            >>> parsed = parse_cla("PSB 1\\n2 1\\nanimal 0 0\\nhorse animal 1\\n103", Path("a.cla"))
            >>> parsed.ancestors("horse")
            ('animal', 'horse')
        """
        parents = {entry.name: entry.parent for entry in self.classes}
        line = [name]
        while (parent := parents[line[0]]) is not None:
            line.insert(0, parent)
        return tuple(line)

    def labelled(self, level: int | None = None) -> tuple[tuple[str, str], ...]:
        """Each model with the name of its class.

        Args:
            level: depth at which the hierarchy is cut: 1 gives every model the class at the top that it is
                under, 2 the one below that where there is one; ``None`` its own.

        Returns:
            Pairs (model, class).
        """
        return tuple(
            (model, self.ancestors(entry.name)[:level][-1])
            for entry in self.classes
            for model in entry.models
        )


def read_cla(path: Path) -> Classification:
    """Read a ``.cla`` file.

    Raises:
        DataError: when it cannot be read or is malformed; in which line, what was expected.

    Source:
        "Classification file format", documentation of the Princeton Shape Benchmark, version 1.
    """
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
    """The classes in the text of a ``.cla`` file.

    Args:
        text: of the file; any white space may stand between words.
        path: of the file, for messages.

    Returns:
        The classes.

    Raises:
        DataError: when it is malformed.

    Example:
        >>> from batchot.data.psb_cla import parse_cla
        >>> parse_cla("PSB 1\\n1 2\\n\\ndog 0 2\\n86\\n87\\n", Path("test.cla")).labelled()
        (('86', 'dog'), ('87', 'dog'))
        >>> parse_cla("PSB 1\\n1 2\\n\\ndog 0 two\\n86\\n87\\n", Path("test.cla"))
        Traceback (most recent call last):
        ...
        batchot.data.errors.DataError: test.cla, line 4: expected the number of models of the class 'dog', got 'two'
    """
    words = _Words(text, path)
    words.expect("PSB")
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

    def expect(self, word: str) -> None:
        if (got := self.next(repr(word))) != word:
            raise self.error(f"expected {word!r} as the first word of a .cla file, got {got[:40]!r}")

    def number(self, what: str) -> int:
        word = self.next(what)
        if not (word.isascii() and word.isdigit()):
            raise self.error(f"expected {what}, got {word[:40]!r}")
        return int(word)
