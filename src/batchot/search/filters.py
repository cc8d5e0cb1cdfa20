"""Which shapes of an index may be found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchot.search.errors import SearchError

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

    def where(self) -> str | None:
        """Give the condition in SQL; None where all pass.

        Raises:
            SearchError: an id that is none
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


def quoted(text: str) -> str:
    """Give a text as SQL has it.

    >>> quoted("cat's")
    "'cat''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def ids(values: tuple[str, ...] | list[str]) -> str:
    """Give ids as SQL has them.

    Raises:
        SearchError: a value is no id
    """
    for value in values:
        if not _ID.fullmatch(value):
            raise SearchError(f"{value[:40]!r} is no id of a shape: these have 24 hexadecimal digits")
    return ", ".join(f"'{value}'" for value in values)
