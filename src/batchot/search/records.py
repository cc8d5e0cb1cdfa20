"""Records of an index, filters and errors."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Reason: TypeAlias = Literal["format", "size", "time", "memory", "damaged", "blank"]


class SearchError(RuntimeError):
    """An index cannot be built, read or searched."""


class NotThere(SearchError):
    """What was asked for is not in the index."""


class Unavailable(SearchError):
    """The index cannot answer now: its store fails, or it is being made anew."""


class QueryRefused(SearchError):
    """A query, or a file to be indexed, cannot be taken."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason


_INWARD = re.compile(
    r"\s*<[^<>]* object at 0x[0-9a-f]+>"  # a Python object
    r"|[;,]?\s*use sys\.[\w.]+\(\)[^;]*"  # advice to programmers
    r"|[,;]?\s*(?:at |in )?(?:/[^\s:,;'\"]+)+\.(?:rs|py|c|cpp|cc)\b(?::\d+)*"  # a place in the code of a library
    r"|\s*\[Errno \d+\]"
)


def plain(text: str) -> str:
    """Give a message of a library without what only its programmers can use, and without control characters."""
    return printable(_INWARD.sub("", text)).strip()


def printable(text: str) -> str:
    r"""Give a text that a terminal can show: control characters, and bytes that are no text, as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text
    )


@dataclass(frozen=True, eq=False)
class ShapeRecord:
    """A shape as it is stored."""

    id: str  # of `record_id`
    # path relative to the folder that was indexed, with "/" and, in an archive, "#member"; unique in an index
    name: str
    folder: str  # its parent, "" at the top
    class_name: str  # "" where it is not known
    path: str  # absolute path of the file when it was indexed
    member: str | None  # of an archive or HDF5 file
    content: str  # SHA-256 of what it was read from, hexadecimal
    kind: Literal["mesh", "cloud"]  # "mesh" or "cloud"
    faces: int  # triangles; 0 for clouds
    vertices: int  # corners, or points
    size: tuple[float, float, float]  # extents along x, y and z, z up, in the units of the file
    vector: NDArray[np.float32]  # (d,)
    thumbnail: bytes  # WebP or PNG picture
    preview: bytes  # GLB file


@dataclass(frozen=True)
class Hit:
    """A shape that was found."""

    id: str  # see `ShapeRecord`, as all but the last
    name: str  # in the index
    folder: str  # its parent
    class_name: str  # "" where it is not known
    kind: Literal["mesh", "cloud"]  # "mesh" or "cloud"
    faces: int  # triangles
    vertices: int  # corners, or points
    size: tuple[float, float, float]  # extents along x, y and z
    path: str  # of the file when it was indexed
    member: str | None  # of an archive
    distance: float = 0.0  # Euclidean, between the embeddings of query and shape
    # calibrated probability that the shape is of the query's class; None: there is no calibration
    likeness: float | None = None
    same_file: bool = False  # the shape was read from the very file that was asked for
    nearly_same: bool = (
        False  # it is all but the query: as near as few shapes are, and of the same proportions
    )


def record_id(name: str) -> str:
    """Give the id of a shape, the same wherever the index lies."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]


_ID = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class Filters:
    """Which shapes may be found; nothing given lets all pass."""

    classes: tuple[str, ...] = ()  # of one of these
    folders: tuple[str, ...] = ()  # in one of these folders, or below
    exclude: tuple[str, ...] = ()  # not these ids
    # each of its words is part of the name (with its folders) or of the class; capitals count for nothing
    text: str = ""
    # not these ids, nor what is nearly the same as they are >>> Filters(classes=("cup",)).where() "(class_name IN
    # ('cup'))"
    unlike: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the text."""
        return words_of(self.text)

    def check(self, classes: Mapping[str, int], folders: Mapping[str, int]) -> None:
        """Refuse names that the index does not have: nothing would be found, and nobody would know why."""
        if self.text.strip() and not self.words:
            raise ValueError(f"{self.text[:80]!r} has no letter and no digit to look for")
        for name in self.classes:
            if name not in classes:
                raise ValueError(_no_such("class", name, classes))
        for name in self.folders:
            wanted = name.strip("/")
            if wanted and not any(folder == wanted or folder.startswith(f"{wanted}/") for folder in folders):
                raise ValueError(_no_such("folder", name, folders))

    def where(self) -> str | None:
        """Give the condition in SQL; None where all pass."""
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
        for word in self.words:
            # a file system may keep é as one character or as two
            forms = sorted({unicodedata.normalize(form, word) for form in ("NFC", "NFD")})
            holds = [
                f"contains(lower({column}), {quoted(form)})"
                for column in ("name", "class_name")
                for form in forms
            ]
            parts.append(f"({' OR '.join(holds)})")
        return " AND ".join(parts) or None


def words_of(text: str) -> tuple[str, ...]:
    """Give the words of a name or a question, in small letters."""
    return tuple(re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text).lower()))


def _no_such(what: str, name: str, there: Mapping[str, int]) -> str:
    closest = get_close_matches(name, there, 1)
    some = ", ".join(repr(other) for other in sorted(there)[:12] if other)
    return f"the index has no {what} {name[:80]!r}; " + (
        f"did you mean {closest[0]!r}?" if closest else f"it has {some}" if some else "it has none"
    )


def quoted(text: str) -> str:
    """Give a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def ids(values: tuple[str, ...] | list[str]) -> str:
    """Give ids as SQL has them."""
    for value in values:
        if not _ID.fullmatch(value):
            raise NotThere(f"{value[:40]!r} is no id of a shape: these have 24 hexadecimal digits")
    return ", ".join(f"'{value}'" for value in values)
