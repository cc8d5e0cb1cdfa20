"""Which shapes of an index may be found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from batchot.search.errors import NotThere

_ID = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class Filters:
    """Which shapes may be found; nothing given lets all pass.

    Args:
        classes: of one of these
        folders: in one of these folders, or below
        exclude: not these ids

    >>> Filters(classes=("cup",)).where()
    "(class_name IN ('cup'))"
    """

    classes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def check(self, classes: Mapping[str, int], folders: Mapping[str, int]) -> None:
        """Refuse names that the index does not have: nothing would be found, and nobody would know why.

        Args:
            classes: of the index
            folders: of the index

        Raises:
            ValueError: there is no such class or folder

        >>> Filters(classes=("cap",)).check({"cup": 3}, {})
        Traceback (most recent call last):
        ...
        ValueError: the index has no class 'cap'; did you mean 'cup'?
        """
        for name in self.classes:
            if name not in classes:
                raise ValueError(_no_such("class", name, classes))
        for name in self.folders:
            wanted = name.strip("/")
            if wanted and not any(folder == wanted or folder.startswith(f"{wanted}/") for folder in folders):
                raise ValueError(_no_such("folder", name, folders))

    def where(self) -> str | None:
        """Give the condition in SQL; None where all pass.

        Raises:
            NotThere: an id that is none
        """
        parts = []
        if self.classes:
            parts.append(f"(class_name IN ({', '.join(quoted(name) for name in self.classes)}))")
        if self.folders:
            below = []
            for folder in self.folders:
                name = folder.strip("/")
                # starts_with takes its argument as it is: % and _ in a name stand for themselves
                below.append(
                    f"folder = {quoted(name)} OR starts_with(folder, {quoted(name + '/')})"
                    if name
                    else "true"
                )
            parts.append(f"({' OR '.join(below)})")
        if self.exclude:
            parts.append(f"(id NOT IN ({ids(self.exclude)}))")
        return " AND ".join(parts) or None


def _no_such(what: str, name: str, there: Mapping[str, int]) -> str:
    closest = get_close_matches(name, there, 1)
    some = ", ".join(repr(other) for other in sorted(there)[:12] if other)
    return f"the index has no {what} {name[:80]!r}; " + (
        f"did you mean {closest[0]!r}?" if closest else f"it has {some}" if some else "it has none"
    )


def quoted(text: str) -> str:
    """Give a text as SQL has it.

    >>> quoted("cat's")
    "'cat''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def ids(values: tuple[str, ...] | list[str]) -> str:
    """Give ids as SQL has them.

    Raises:
        NotThere: a value is no id
    """
    for value in values:
        if not _ID.fullmatch(value):
            raise NotThere(f"{value[:40]!r} is no id of a shape: these have 24 hexadecimal digits")
    return ", ".join(f"'{value}'" for value in values)
