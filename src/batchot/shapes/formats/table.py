"""Tables of points in text: what separates their columns, what these are called, and the numbers in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from batchot.errors import ShapeError
from batchot.shapes.formats.numbers import (
    is_blank,
    is_comment,
    is_line_end,
    is_missing,
    is_white,
    line_of,
    note_slow,
    parse_number,
    past_quotes,
    read_rows,
    read_slow_numbers,
    skip_line,
    skip_token,
    state_of,
    whole_number,
    with_decimal_points,
)
from batchot.shapes.shape import Bytes, Floats, Ints

_BLANK, _TAB, _QUOTE, _COMMA, _SEMICOLON = 32, 9, 34, 44, 59
_LINE = re.compile(rb"[^\r\n]+")
_COMMENT = re.compile(rb"(?:^|[ \t])\s*(?:#|//)")
_WORDS = re.compile(rb'"[^"]*"|[^\s,;"]+')
_NUMBER = re.compile(rb"[-+]?(?:\d[\d.,]*|[.,]\d+)(?:[ed][-+]?\d+)?|[-+]?inf(?:inity)?", re.IGNORECASE)
# Of any script, with any minus, and after what cannot be seen; Fortran writes stars where a number does not fit.
_LIKE_A_NUMBER = re.compile(r"\W*\d|\*+$")
# "x", "X [m]", "pos_x", "Points:0" as ParaView has it; "nx", "normal_x", "Normals:0".
_WORD = r"p|points?|pos(?:ition)?s?|coord(?:inate)?s?|loc(?:ation)?s?|vert(?:ex|ices)?"
_UNIT = r"[munckd]?m|(?:milli|centi|deci|kilo|micro)?met(?:er|re)s?|in(?:ch(?:es)?)?|f(?:oo|ee)?t|[\[({].*"
_AXIS = rf"[ _.:\[-]*([xyz]|(?<=[_:\[])[012])\]?(?:[ _.:/-]*(?:{_WORD}|{_UNIT})){{0,2}}"
_AXES = re.compile(rf"(?:{_WORD})?{_AXIS}")
_NORMALS = re.compile(rf"n(?:orm(?:al)?s?)?{_AXIS}")
_SURVEYED = {
    "east": "x", "easting": "x", "north": "y", "northing": "y",
    "height": "z", "elevation": "z", "altitude": "z",
}  # fmt: skip
_COUNTED = 16  # rows from which on a column that counts them is no coordinate


@dataclass(frozen=True)
class _Plan:
    start: int  # position of the first row
    row: tuple[bytes, ...]  # its fields
    separator: int  # a byte; a blank for any white space, with commas and semicolons among it
    width: int  # fields of a row
    columns: tuple[int, ...]  # those that are wanted
    named: bool
    count: int | None  # of rows, where the text says it first


def read_table(data: bytes) -> tuple[Floats, bool]:
    """The columns of a table that are coordinates, or may be."""
    plan = _plan(data)
    rows = read_rows(data, plan.start) if plan.separator == _BLANK and not plan.named else None
    if rows is not None and (rows.columns == plan.width).all():
        values = rows.table(0, len(rows), plan.width)
    else:
        values = _read_fields(data, plan)
    n = len(values)
    if plan.count is not None and plan.count != n:
        raise ShapeError(
            f"announces {plan.count:,} points, but {n:,} follow; the file is "
            f"{'truncated' if n < plan.count else 'damaged'}: restore it"
        )
    if not plan.named and plan.width > 3 and _only_counts(values[:, 0]):
        values = values[:, 1:]
    return values, plan.named


def _read_fields(data: bytes, plan: _Plan) -> Floats:
    """The wanted columns, (n, k), field by field, of which some may be empty or no numbers."""
    # Where commas separate for sure, a row of another kind has another width, and is refused below.
    first = [plan.row[k] for k in plan.columns]
    if plan.separator != _COMMA or not (
        all(map(_is_number, first)) and any(b"." in field for field in first)
    ):
        data = with_decimal_points(data, plan.start)
    buffer = np.frombuffer(data, dtype=np.uint8)
    place = np.full(plan.width, -1, dtype=np.int64)
    place[list(plan.columns)] = np.arange(len(plan.columns))
    values = np.empty((_count_rows(buffer, plan.start), len(plan.columns)))
    slow = np.empty((values.size, 3), dtype=np.int64)  # memory is only taken where it is written
    n_slow, wrong, width = _fill(buffer, plan.start, plan.separator, place, values, slow)
    if wrong >= 0:
        state = state_of(data, wrong) if width < plan.width else "damaged"
        raise ShapeError(
            f"line {line_of(data, wrong)} has {width} columns, the first point has {plan.width} (line "
            f"{line_of(data, plan.start)}), and all must have as many; the file is {state}: restore it"
        )
    read_slow_numbers(data, values.reshape(-1), slow[:n_slow])
    return values


def kind_of_text(head: bytes) -> Literal["points", "table", "notes"]:
    """Whether a text begins as one of points does, is a table of other numbers, or something to read."""
    try:
        plan = _plan(head)
    except _NoPointsError as error:
        return "table" if error.numbers >= 3 else "notes"
    if plan.named or all(_is_number(field) for field in plan.row):
        return "points"
    return "notes"


class _NoPointsError(ShapeError):
    def __init__(self, text: str, numbers: int = 0) -> None:
        super().__init__(text)
        self.numbers = numbers  # in the first row of a table


def _plan(data: bytes) -> _Plan:
    names = comment = b""
    count = None
    first, named = True, False
    for match in _LINE.finditer(data):
        line = _COMMENT.split(match[0], maxsplit=1)[0].strip()
        if not line:
            comment = match[0].strip().lstrip(b"#/").strip() or comment
            continue
        separator, line = _separator(line)
        row = _split(line, separator)
        numbers, titles = list(map(_is_number, row)), False
        if not all(numbers):
            names_of_row = _names(row)
            titles = _named_columns(names_of_row) is not None
            fields = zip(numbers, names_of_row, strict=True)
            if len(row) >= 3 and all(number or _LIKE_A_NUMBER.match(name) for number, name in fields):
                numbers = [True] * len(row)  # damaged ones: no title
        known = any(number and field for number, field in zip(numbers, row, strict=True))
        if titles or not known or (first and (not numbers[0] or _is_pandas_header(row))):
            if not named:  # below the names of the columns may be their units
                names, named = line.lstrip(b"%!"), titles
        elif count is None and len(row) == 1 and row[0].isdigit():
            count = whole_number(row[0])
        else:
            return _planned(data, match.start(), line, separator, names, comment, count)
        first = False
    seen = f": no line begins with numbers, nor {_shown(names)}" if names else ""
    raise _NoPointsError(f"there are no points{seen}; restore the file")


def _planned(
    data: bytes, start: int, line: bytes, separator: int, header: bytes, comment: bytes, count: int | None
) -> _Plan:
    separators = [separator, *([_TAB] if separator == _BLANK and b"\t" in line else [])]
    for title in filter(None, (header, comment)):
        for k in separators:
            row = tuple(_split(line, k))
            for names in (_names(_split(title, k)), _names(_WORDS.findall(title))):
                columns = _named_columns(names)
                if columns is None:
                    continue
                if len(row) == len(names) + 1 and row[0].startswith(
                    b'"'
                ):  # the names of rows, as R writes them
                    columns, names = tuple(column + 1 for column in columns), ["", *names]
                if len(row) in (
                    len(names),
                    len(names) + (not row[-1]),
                ):  # there may be a separator at the end
                    return _Plan(start, row, k, len(names), columns, True, count)
    row = tuple(_split(line, separator))
    width = len(row) - (separator != _BLANK and not row[-1])
    numbers = sum(map(_is_number, row))
    names = _names(_split(header, separator))
    if _named_columns(names) or (len(names) == width != 3):
        raise _NoPointsError(
            f"line {line_of(data, start)} has {width} columns, and their names are {_shown(header)}; name each column, "
            "the coordinates x, y and z",
            numbers,
        )
    if width < 3:
        raise _NoPointsError(
            f"line {line_of(data, start)}: {_shown(line)} is no point; every point is x y z and as many more numbers "
            "as the others"
        )
    return _Plan(start, row, separator, width, tuple(range(width)), False, count)


def _separator(line: bytes) -> tuple[int, bytes]:
    """What is between the fields of a line, and the line with points for decimal commas."""
    try:
        line = with_decimal_points(line)
    except ShapeError:  # one that names the line is raised when all lines are looked at
        return _COMMA, line
    bare = re.sub(rb'"[^"]*"', b"", line)
    return _SEMICOLON if b";" in bare else _COMMA if b"," in bare else _BLANK, line


def _split(line: bytes, separator: int) -> list[bytes]:
    if separator == _BLANK:
        return _WORDS.findall(line)
    between = re.escape(bytes([separator]))
    return [
        field.strip() for field in re.findall(rb'((?:"[^"]*"|[^"%s])*)(?:%s|$)' % (between, between), line)
    ][: 1 + re.sub(rb'"[^"]*"', b"", line).count(bytes([separator]))]


def _names(fields: Sequence[bytes]) -> list[str]:
    return [field.decode("utf-8", "replace").strip("\"' \t").lower() for field in fields]


def _named_columns(names: Sequence[str]) -> tuple[int, ...] | None:
    """Columns of x, y, z, and of the normal if there are all three; ``None`` without x, y and z."""
    if len(names) < 3:
        return None
    if len(names) == 3 and (alike := _alike(names)):
        return alike
    points, normals = ([_find(pattern, names, axis) for axis in range(3)] for pattern in (_AXES, _NORMALS))
    if -1 in points:
        others = [_SURVEYED.get(name, name) for name in names]
        return None if others == list(names) else _named_columns(others)
    return tuple(points if -1 in normals else points + normals)


def _alike(names: Sequence[str]) -> tuple[int, ...] | None:
    """Columns of x, y, z where the names differ in nothing else, such as "scan_z_raw"; else ``None``."""
    rests = [
        {name[:k] + "?" + name[k + 1 :]: axis for k, axis in enumerate(name[:64]) if axis in "xyz"}
        for name in names
    ]
    for rest in rests[0]:
        axes = [each.get(rest, "") for each in rests]
        if sorted(axes) == ["x", "y", "z"]:
            return tuple(axes.index(axis) for axis in "xyz")
    return None


def _find(pattern: re.Pattern[str], names: Sequence[str], axis: int) -> int:
    """The column of an axis, or -1; one that is called just so comes first."""
    found = [
        k
        for k, name in enumerate(names)
        if (match := pattern.fullmatch(name)) and match[1] in ("xyz"[axis], "012"[axis])
    ]
    return min(found, key=lambda k: (len(names[k]), k), default=-1)


def _is_number(field: bytes) -> bool:
    bare = field.strip(b'" \t')
    return _NUMBER.fullmatch(bare) is not None or is_missing(bare)


def _is_pandas_header(row: Sequence[bytes]) -> bool:
    """Whether a row is 0, 1, 2 and so on, perhaps after an empty name: those that a table without names gets there."""
    row = row[not row[0] :]
    return len(row) >= 3 and list(row) == [b"%d" % k for k in range(len(row))]


def _shown(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "replace"))


def _only_counts(column: Floats) -> bool:
    """Whether a column is k, k + 1, k + 2 and so on."""
    if len(column) < _COUNTED or column[0] not in (0, 1):
        return False
    return bool((np.diff(column) == 1).all())


@njit(cache=True)
def _count_rows(buffer: Bytes, i: int) -> int:
    rows = 0
    while i < len(buffer):
        i = _skip_white(buffer, i, -1)
        if i < len(buffer) and not is_line_end(buffer[i]) and not is_comment(buffer, i):
            rows += 1
        i = skip_line(buffer, i) + 1
    return rows


@njit(cache=True)
def _skip_white(buffer: Bytes, i: int, separator: int) -> int:
    if separator == _BLANK:
        while i < len(buffer) and is_blank(buffer[i]):
            i += 1
    else:
        while i < len(buffer) and is_white(buffer[i]) and buffer[i] != separator:
            i += 1
    return i


@njit(cache=True)
def _fill(
    buffer: Bytes, i: int, separator: int, place: Ints, values: Floats, slow: Ints
) -> tuple[int, int, int]:
    """Fill in the wanted fields; how many need a second look, and a row of another width and its width, or -1."""
    n = len(buffer)
    width = len(place)
    row = 0
    n_slow = 0
    while i < n:
        i = _skip_white(buffer, i, -1)
        if i >= n or is_line_end(buffer[i]) or is_comment(buffer, i):
            i = skip_line(buffer, i) + 1
            continue
        line = i
        column = 0
        more = True  # a field follows
        while more:
            first = _skip_white(buffer, i, separator)
            i = first
            nothing = i >= n or is_line_end(buffer[i])
            if separator == _BLANK:
                if nothing or is_comment(buffer, i):
                    break
            elif not nothing:
                nothing = buffer[i] == separator
            if nothing and column >= width:
                break  # after a separator at the end of the line
            wanted = column < width and place[column] >= 0
            value = np.nan
            exact = False
            if not nothing:
                if buffer[i] == _QUOTE:
                    i = past_quotes(buffer, i)
                elif wanted:
                    value, i, exact = parse_number(buffer, i)
                else:
                    i = skip_token(buffer, i)
            last = i
            if separator == _BLANK:
                while i < n and not is_blank(buffer[i]) and not is_line_end(buffer[i]):
                    exact = False
                    i += 1
                last = i
            else:
                while i < n and buffer[i] != separator and not is_line_end(buffer[i]):
                    if not is_white(buffer[i]):
                        if i > last and is_comment(buffer, i):
                            i = skip_line(buffer, i)
                            break
                        exact = False
                        last = i + 1
                    i += 1
                more = i < n and buffer[i] == separator
                i += more
            if wanted:
                values[row, place[column]] = value
                if not nothing and not exact:
                    n_slow = note_slow(slow, n_slow, row * values.shape[1] + place[column], first, last)
            column += 1
        if column != width:
            return n_slow, line, column
        row += 1
        i = skip_line(buffer, i) + 1
    return n_slow, -1, width
