"""Records of an index, filters and errors."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchot.errors import SearchError

Reason: TypeAlias = Literal["format", "size", "time", "memory", "damaged", "blank", "filter"]


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


def cell(text: str) -> str:
    """Give a text as a table has it: what a spreadsheet would take for a formula is text."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


Sort: TypeAlias = Literal["distance", "size", "-size", "area", "-area", "volume", "-volume"]
MOST_WITHIN = 1000.0
_MM = {"um": 0.001, "mm": 1.0, "cm": 10.0, "m": 1000.0, "in": 25.4, "ft": 304.8}
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+"
_UNIT = "[a-z]+[23]?"
# of spaces there is one at most: among many, what does not match would be looked for in n^5 ways
_RANGE = re.compile(rf"(?:({_NUMBER}) ?({_UNIT})?)? ?(?:(\.\.) ?({_NUMBER})? ?({_UNIT})?)?")
_AS_TYPED = str.maketrans("²³µμ", "23uu")


@dataclass(frozen=True)
class Range:
    """From where to where a measure may lie, ends included."""

    low: float  # in mm, mm2 or mm3, or in the units of the files
    high: float  # the same
    mm: bool = False  # only shapes whose unit is known


def range_of(text: str, power: int = 1, within: float = 10.0) -> Range:
    """Read a range of lengths, areas or volumes."""
    found = _RANGE.fullmatch(" ".join(text.lower().translate(_AS_TYPED).split()))
    example = "120mm, 100..140mm or ..5in" if power == 1 else f"50..80mm{power} or ..2cm{power}"
    if found is None or not (found[1] or found[4]):
        comma = ", with a point and no comma in a number" if "," in text else ""
        raise ValueError(f"{text[:40]!r} is no range of sizes; give one such as {example}{comma}")
    first, last = found[2] or found[5], found[5] or found[2]
    factors = {None: 1.0} | {f"{unit}{power}" if power > 1 else unit: x**power for unit, x in _MM.items()}
    if first not in factors or last not in factors:
        raise ValueError(
            f"{text[:40]!r} has no unit that is known here ({', '.join(_MM)}"
            + (f", each followed by {power}" if power > 1 else "")
            + f"); give one such as {example}"
        )
    if not 0 <= within <= MOST_WITHIN:
        raise ValueError(f"within must lie in 0 .. {MOST_WITHIN:g} per cent, got {within:g}")
    low, high = float(found[1] or 0) * factors[first], float(found[4] or "inf") * factors[last]
    if not found[3]:
        low, high = low * (1 - within / 100), low * (1 + within / 100)
    if low > high or not math.isfinite(low) or (found[4] and not math.isfinite(high)):
        raise ValueError(f"{text[:40]!r} ends before it begins, or nowhere; give one such as {example}")
    return Range(low, high, first is not None)


def around(size: Sequence[float], within: float) -> tuple[Range, Range, Range]:
    """The ranges of the longest, the middle and the shortest extent of shapes of the same size."""
    part = within / 100
    a, b, c = sorted(size, reverse=True)
    return tuple(Range(x * (1 - part), x * (1 + part)) for x in (a, b, c))  # type: ignore[return-value]


def in_order(hits: Sequence[Hit], sort: Sort) -> tuple[Hit, ...]:
    """Results by a measure, those without it last; "-size" is largest first."""
    if sort == "distance":
        return tuple(hits)
    name, sign = sort.lstrip("-"), -1.0 if sort.startswith("-") else 1.0

    def key(hit: Hit) -> float:
        value = max(hit.size) if name == "size" else getattr(hit, name)
        return float("inf") if value is None else sign * value

    return tuple(sorted(hits, key=key))


def size_in_words(hit: Hit) -> str:
    """How large a shape is, in words."""
    unit = hit.unit or "(unit unknown)"
    parts = [f"{' x '.join(f'{x:.4g}' for x in hit.size)} {unit}"]
    parts += (
        [f"{hit.area:.4g} {hit.unit}2" if hit.unit else f"area {hit.area:.4g}"]
        if hit.area is not None
        else []
    )
    if hit.volume is not None:
        parts.append(f"{hit.volume:.4g} {hit.unit}3" if hit.unit else f"volume {hit.volume:.4g}")
    return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is told of a shape of an index."""

    id: str  # of `record_id`
    # path relative to the folder that was indexed, with "/" and, in an archive, "#member"; unique in an index
    name: str
    folder: str  # its parent, "" at the top
    class_name: str  # "" where it is not known
    path: str  # absolute path of the file when it was indexed
    member: str | None  # of an archive or HDF5 file
    kind: Literal["mesh", "cloud"]  # "mesh" or "cloud"
    faces: int  # triangles; 0 for clouds
    vertices: int  # corners, or points
    # extents along x, y and z, z up, in mm where the unit is known, else in the units of the file
    size: tuple[float, float, float]
    area: float | None = None  # of the surface; None: a cloud, or not measured
    volume: float | None = None  # enclosed by it; None: it is not closed, or not measured
    unit: str = ""  # "mm" where the file says how large it is, else ""


@dataclass(frozen=True, eq=False, kw_only=True)
class ShapeRecord(Card):
    """A shape as it is stored."""

    content: str  # SHA-256 of what it was read from, hexadecimal
    vector: NDArray[np.float32]  # (d,)
    thumbnail: bytes  # WebP or PNG picture
    preview: bytes  # GLB file
    photo: NDArray[np.float32] | None = None  # (f,), with which photos are compared; None: they are not


@dataclass(frozen=True, kw_only=True)
class Hit(Card):
    """A shape that was found."""

    distance: float = 0.0  # Euclidean, between the embeddings of query and shape
    # calibrated probability that the shape is of the query's class; None: there is no calibration
    likeness: float | None = None
    same_file: bool = False  # the shape was read from the very file that was asked for
    nearly_same: bool = False  # all but the query: as near as few shapes are, and of the same proportions


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
    unlike: tuple[str, ...] = ()  # not these ids, nor what is nearly the same as they are
    size: Range | None = None  # the longest extent
    area: Range | None = None  # of the surface
    volume: Range | None = None  # that it encloses
    same_size: float | None = None  # all three extents are those of the query, by so many per cent
    extents: tuple[Range, Range, Range] | None = None  # longest, middle, shortest; of ``same_size``

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the text."""
        return words_of(self.text)

    @property
    def of_sizes(self) -> bool:
        """Sizes decide."""
        return not (self.size is self.area is self.volume is self.extents is self.same_size is None)

    def for_query(self, size: tuple[float, float, float]) -> Filters:
        """The filters for a query of such extents."""
        if self.same_size is None:
            return self
        if not max(size) > 0:
            raise QueryRefused(
                "a drawing or a name has no size that others could have; give a shape, or --size", "filter"
            )
        return replace(self, extents=around(size, self.same_size), same_size=None)

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
        for column, wanted in (
            ("longest", self.size),
            ("area", self.area),
            ("volume", self.volume),
            *zip(("longest", "middle", "shortest"), self.extents or (), strict=False),
        ):
            if wanted is not None:
                upper = "" if wanted.high == float("inf") else f" AND {column} <= {wanted.high!r}"
                unit = " AND unit = 'mm'" if wanted.mm else ""
                parts.append(f"({column} >= {wanted.low!r}{upper}{unit})")
        if self.exclude:
            parts.append(f"(id NOT IN ({ids(self.exclude)}))")
        for word in self.words:
            # a file system may keep é as one character or as two
            forms = sorted({unicodedata.normalize(form, word) for form in ("NFC", "NFD")})
            holds = [
                f"contains({_folded(column)}, {quoted(form)})"
                for column in ("name", "class_name")
                for form in forms
            ]
            parts.append(f"({' OR '.join(holds)})")
        return " AND ".join(parts) or None


def words_of(text: str) -> tuple[str, ...]:
    """Give the words of a name or a question, whatever their case."""
    return tuple(re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text).casefold()))


def _folded(column: str) -> str:
    """A column in SQL as `words_of` has its words: small letters, and one form where a letter has several."""
    folded = f"lower({column})"
    for letter, common in (("ß", "ss"), ("\u03c2", "\u03c3"), ("\u017f", "s")):
        folded = f"replace({folded}, '{letter}', '{common}')"
    return folded


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
