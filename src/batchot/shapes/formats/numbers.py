"""Numbers in text, ten times as fast as splitting it and as exact as ``float``.

One grammar for every format of text. Between numbers stand white space, commas or semicolons; ``#`` and ``//`` begin
comments. A comma is a decimal point where something else separates the numbers of every line (``1,5 2,5``,
``1,5;2,5``); a text in which commas would have to be both, or may be either, is refused with the line
(``with_decimal_points``). What is not a number, but stands for one that was not measured, is NaN.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import numpy as np

from batchot.compiling import njit
from batchot.errors import ShapeError
from batchot.shapes.shape import Bytes, Floats, Ints

# A decimal number whose digits are below 2^53 and whose power of ten is at most 22 is one exact float times or
# divided by another, hence correctly rounded (W. Clinger, How to read floating point numbers accurately, 1990).
_EXACT_INTEGER = 1 << 53
_EXACT_POWERS = 10.0 ** np.arange(23)
_NEWLINE, _RETURN, _QUOTE, _HASH, _COMMA, _POINT, _SLASH, _SEMICOLON = 10, 13, 34, 35, 44, 46, 47, 59
_WHITE, _FEW = b" \t\v\f\0", 20  # lines with commas beyond these are looked at byte by byte
_NONE = np.empty(0, dtype=np.int64)
_SHOWN = 30  # characters of a token in a message
_MISSING = re.compile(
    rb"[-+]?(?:1\.#(?:QNAN|SNAN|IND)\d*|nan(?:\(\w*\))?)|NA|N/A|null|none|"
    rb"#(?:N/A|NUM!|VALUE!|DIV/0!)",
    re.IGNORECASE,
)
_FORTRAN = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)d[-+]?\d+", re.IGNORECASE)
_INFINITE = re.compile(rb"[-+]?1\.#INF\d*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Rows:
    """The numbers of a text, and where each of its lines that has any begins among them."""

    values: Floats  # (k,)
    starts: Ints  # (rows + 1,), the last is k

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def columns(self) -> Ints:
        """How many numbers each row has, (rows,)."""
        return np.diff(self.starts)

    def table(self, first: int, last: int, columns: int) -> Floats:
        """The first ``columns`` numbers of rows ``first`` to ``last`` (without it), each of which has them."""
        starts = self.starts[first:last]
        if last > first and self.starts[last] - starts[0] == columns * (last - first):
            return self.values[starts[0] : self.starts[last]].reshape(-1, columns)
        return self.values[starts[:, None] + np.arange(columns)]  # (last - first, columns)


def whole_number(digits: str | bytes) -> int:
    """Read a count; one of thousands of digits, which Python refuses, is as good as any that no file can hold."""
    try:
        return int(digits)
    except ValueError:
        return 10**18


def read_rows(data: bytes, start: int = 0) -> Rows:
    """All numbers of a text, separated by white space, commas or semicolons; ``#`` and ``//`` begin comments."""
    data = with_decimal_points(data, start)
    buffer = np.frombuffer(data, dtype=np.uint8)
    n_values, n_rows, _ = _scan(buffer, start, np.empty(0), _NONE, _NONE.reshape(0, 3))
    values = np.empty(n_values)
    starts = np.empty(n_rows + 1, dtype=np.int64)
    slow = np.empty((n_values, 3), dtype=np.int64)  # memory is only taken where it is written
    _, _, n_slow = _scan(buffer, start, values, starts, slow)
    read_slow_numbers(data, values, slow[:n_slow])
    return Rows(values, starts)


def read_slow_numbers(data: bytes, values: Floats, slow: Ints) -> None:
    """Fill in the numbers that need more than one operation to be exact, and find what is no number."""
    for index, first, last in slow.tolist():
        token = data[first:last].strip(b'" \t')
        if data[first] == _QUOTE and b"." not in token:  # what is between quotes separates nothing
            token = token.replace(b",", b".")
        try:
            if b"_" in token:
                raise ValueError
            values[index] = float(token)
        except ValueError:
            if is_missing(token):
                values[index] = np.nan
            elif _INFINITE.fullmatch(token):
                values[index] = np.inf
            elif _FORTRAN.fullmatch(token):
                values[index] = float(token.lower().replace(b"d", b"e"))
            else:
                raise not_a_number(data, first, last) from None


def is_missing(token: bytes) -> bool:
    """Whether a token stands for a number that is not known, as Windows, R, pandas and databases write it."""
    return not token or _MISSING.fullmatch(token) is not None


def without_marks(data: bytes) -> bytes:
    """The text with blanks for byte-order marks, which stand within files that were put together."""
    # one byte is looked for ten times as fast as three
    return data.replace(codecs.BOM_UTF8, b"   ") if b"\xef" in data else data


def with_decimal_points(data: bytes, start: int = 0, keyword: bytes = b"") -> bytes:
    """The text with a point for every decimal comma in its numbers, of the same length."""
    if not _has_comma(data, start, keyword):
        return data
    buffer = np.frombuffer(bytearray(data), dtype=np.uint8)
    word = np.frombuffer(keyword, dtype=np.uint8)
    decimal, wrong = _decimal_commas(buffer, start, word)
    if wrong >= 0:
        shown = data[wrong:].split(b"\n", 1)[0].strip()[:60].decode("utf-8", "replace")
        raise ShapeError(
            f"line {line_of(data, wrong)}: {shown!r} leaves open, alone or beside other lines, which commas are "
            "decimal and which are between numbers; save it with decimal points"
        )
    if not decimal:
        return data
    _to_points(buffer, start, word)
    return buffer.tobytes()


def _has_comma(data: bytes, start: int, keyword: bytes) -> bool:
    """Whether a line with the keyword may have a comma: the first few lines that have one are looked at."""
    for _ in range(_FEW):
        comma = data.find(b",", start)
        if comma < 0 or not keyword:
            return comma >= 0
        line = max(data.rfind(b"\n", start, comma), data.rfind(b"\r", start, comma), start - 1) + 1
        if data[line:comma].lstrip(_WHITE).lower().startswith(keyword):
            return True
        end = data.find(b"\n", comma)
        returned = data.find(b"\r", comma, end if end >= 0 else len(data))
        if max(end, returned) < 0:
            return False
        start = (returned if returned >= 0 else end) + 1
    return data.find(b",", start) >= 0


def not_a_number(data: bytes, first: int, last: int) -> ShapeError:
    """The error for a token that should have been a number."""
    token = data[first : min(last, first + _SHOWN)].decode("utf-8", "replace")
    return ShapeError(
        f"line {line_of(data, first)}: {token!r} is not a number; the file is damaged or of another format"
    )


def state_of(data: bytes, position: int) -> str:
    """What a line that is too short says of the file: truncated where the text just stops in it, else damaged."""
    return "damaged" if b"\n" in data[position:] or b"\r" in data[position:] else "truncated"


def line_of(data: bytes, position: int) -> int:
    """The number of the line in which a byte is, counted from 1."""
    newlines = data.count(b"\n", 0, position)
    return (newlines or data.count(b"\r", 0, position)) + 1


@njit(cache=True)
def is_blank(byte: int) -> bool:
    """Whether a byte separates numbers within a line."""
    return byte == 32 or byte == 9 or byte == 44 or byte == 59 or byte == 11 or byte == 12 or byte == 0


@njit(cache=True)
def is_line_end(byte: int) -> bool:
    """Whether a byte ends a line."""
    return byte in (_NEWLINE, _RETURN)


@njit(cache=True)
def is_comment(buffer: Bytes, i: int) -> bool:
    """Whether a comment begins at byte ``i``."""
    if buffer[i] == _HASH:
        return True
    return buffer[i] == _SLASH and i + 1 < len(buffer) and buffer[i + 1] == _SLASH


@njit(cache=True)
def parse_number(buffer: Bytes, i: int) -> tuple[float, int, bool]:
    """The number whose token begins at byte ``i``: its value, the end of the token, whether the value is exact."""
    n = len(buffer)
    sign = 1.0
    if buffer[i] == 45 or buffer[i] == 43:
        if buffer[i] == 45:
            sign = -1.0
        i += 1
    mantissa = 0
    digits = 0
    power = 0
    exact = True
    seen_point = False
    while i < n:
        byte = buffer[i]
        if 48 <= byte <= 57:
            digits += 1
            if mantissa < _EXACT_INTEGER:
                mantissa = mantissa * 10 + (byte - 48)
            else:
                exact = False
            if seen_point:
                power -= 1
        elif byte == 46 and not seen_point:
            seen_point = True
        else:
            break
        i += 1
    if i < n and (buffer[i] == 101 or buffer[i] == 69):
        i += 1
        negative = False
        if i < n and (buffer[i] == 45 or buffer[i] == 43):
            negative = buffer[i] == 45
            i += 1
        exponent = 0
        if i >= n or not 48 <= buffer[i] <= 57:
            exact = False
        while i < n and 48 <= buffer[i] <= 57:
            if exponent < 10_000:
                exponent = exponent * 10 + (buffer[i] - 48)
            i += 1
        power += -exponent if negative else exponent
    if digits == 0 or mantissa >= _EXACT_INTEGER or power < -22 or power > 22:
        exact = False
    while i < n and not is_blank(buffer[i]) and not is_line_end(buffer[i]):
        exact = False  # something that belongs to no number is glued to it
        i += 1
    if not exact:
        return 0.0, i, False
    if power < 0:
        return sign * (np.float64(mantissa) / _EXACT_POWERS[-power]), i, True
    return sign * (np.float64(mantissa) * _EXACT_POWERS[power]), i, True


@njit(cache=True)
def skip_line(buffer: Bytes, i: int) -> int:
    """The position of the end of the line in which byte ``i`` is."""
    while i < len(buffer) and not is_line_end(buffer[i]):
        i += 1
    return i


@njit(cache=True)
def skip_token(buffer: Bytes, i: int) -> int:
    """The position of the end of the token in which byte ``i`` is."""
    while i < len(buffer) and not is_blank(buffer[i]) and not is_line_end(buffer[i]):
        i += 1
    return i


@njit(cache=True)
def note_slow(slow: Ints, n_slow: int, index: int, first: int, last: int) -> int:
    """Note a number for ``read_slow_numbers``; how many there are then."""
    slow[n_slow, 0], slow[n_slow, 1], slow[n_slow, 2] = index, first, last
    return n_slow + 1


@njit(cache=True)
def _scan(buffer: Bytes, i: int, values: Floats, starts: Ints, slow: Ints) -> tuple[int, int, int]:
    """Count numbers, rows and numbers that need a second look, and fill them in where there is room."""
    n_values = 0
    n_rows = 0
    n_slow = 0
    in_row = False
    filling = len(starts) > 0
    while i < len(buffer):
        if is_line_end(buffer[i]):
            in_row = False
            i += 1
        elif is_blank(buffer[i]):
            i += 1
        elif is_comment(buffer, i):
            i = skip_line(buffer, i)
        else:
            if not in_row:
                if filling:
                    starts[n_rows] = n_values
                n_rows += 1
                in_row = True
            if filling:
                first = i
                values[n_values], i, exact = parse_number(buffer, i)
                if not exact:
                    n_slow = note_slow(slow, n_slow, n_values, first, i)
            else:
                i = skip_token(buffer, i)
            n_values += 1
    if filling:
        starts[n_rows] = n_values
    return n_values, n_rows, n_slow


_NO_COMMAS, _SEPARATE, _PERHAPS, _EITHER, _DECIMAL, _BOTH = range(6)


@njit(cache=True)
def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


@njit(cache=True)
def is_white(byte: int) -> bool:
    """Whether a byte is white space within a line."""
    return byte == 32 or byte == 9 or byte == 11 or byte == 12 or byte == 0


@njit(cache=True)
def _begins_number(buffer: Bytes, i: int) -> bool:
    if i >= len(buffer):
        return False
    if _is_digit(buffer[i]) or buffer[i] == 43 or buffer[i] == 45 or buffer[i] == _POINT:
        return True
    if i + 2 >= len(buffer):
        return False
    first, second, third = buffer[i] | 32, buffer[i + 1] | 32, buffer[i + 2] | 32
    return (first == 110 and second == 97 and third == 110) or (
        first == 105 and second == 110 and third == 102
    )


@njit(cache=True)
def _numbers_from(buffer: Bytes, i: int, keyword: Bytes) -> int:
    """Where the numbers of the line from byte ``i`` begin, or -1 where it does not begin with the keyword."""
    if len(keyword) == 0:
        return i
    n = len(buffer)
    while i < n and is_white(buffer[i]):
        i += 1
    for byte in keyword:
        if i >= n or (buffer[i] | 32) != byte:  # in capitals or not
            return -1
        i += 1
    return i if i < n and is_white(buffer[i]) else -1


@njit(cache=True)
def past_quotes(buffer: Bytes, i: int) -> int:
    """The position after what is quoted from byte ``i`` on, at most the end of the line."""
    i += 1
    while i < len(buffer) and buffer[i] != _QUOTE and not is_line_end(buffer[i]):
        i += 1
    return i + 1 if i < len(buffer) and buffer[i] == _QUOTE else i


@njit(cache=True)
def _line_commas(buffer: Bytes, i: int) -> tuple[int, bool, int]:
    """What the commas of the line from byte ``i`` on can be, whether a number has a point, and the line's end."""
    n = len(buffer)
    glued = 0  # a digit on either side
    loose = 0  # blanks beside it
    signed = 0  # no digit before it, or a sign or a point after it: it separates
    twice = False  # two of them without anything else between
    padded = False  # a number would begin with 0 and a digit
    point = False
    others = 0  # semicolons, and blanks between numbers without a comma
    in_token = 0
    number = False  # the token is one, if it is not damaged
    last = 0
    white = False
    while i < n and not is_line_end(buffer[i]):
        byte = buffer[i]
        if is_white(byte):
            white = True
            in_token = 0
            i += 1
            continue
        begins = white or last in (0, _COMMA, _SEMICOLON)
        if begins and is_comment(buffer, i):
            i = skip_line(buffer, i)
            break
        if byte == _COMMA:
            after = buffer[i + 1] if i + 1 < n else _NEWLINE
            if not white and _is_digit(last) and _is_digit(after):
                glued += 1
                in_token += 1
                twice = twice or in_token > 1
                padded = padded or (after == 48 and i + 2 < n and _is_digit(buffer[i + 2]))
            elif after == 43 or after == 45 or after == _POINT:
                signed += 1
            else:
                j = i + 1
                while j < n and is_white(buffer[j]):
                    j += 1
                if _begins_number(buffer, j):
                    loose += white or j > i + 1
                    signed += not white and j == i + 1
        elif byte == _SEMICOLON:
            others += 1
            in_token = 0
        elif begins:
            before = number
            number = _begins_number(buffer, i)
            others += white and before and number and last != _COMMA and last != _SEMICOLON
        point = point or (number and byte == _POINT)
        last = byte
        white = False
        i = past_quotes(buffer, i) if byte == _QUOTE else i + 1
    if glued + loose + signed == 0:
        return _NO_COMMAS, point, i
    if others > 0:
        sure = loose == 0 and signed == 0 and not twice and not point
        return (_DECIMAL if sure else _BOTH), point, i
    if point or signed > 0:
        return _SEPARATE, point, i
    if padded or (glued > 0 and loose > 0):
        return _EITHER, point, i
    return (_PERHAPS if glued == 1 else _SEPARATE), point, i


@njit(cache=True)
def _decimal_commas(buffer: Bytes, i: int, keyword: Bytes) -> tuple[bool, int]:
    """Whether the commas of a text are decimal, and where the line begins that contradicts this, or -1."""
    n = len(buffer)
    first = np.full(6, -1)  # line of each kind
    first_point = -1
    while i < n:
        line = i
        numbers = _numbers_from(buffer, i, keyword)
        if numbers >= 0:
            kind, point, i = _line_commas(buffer, numbers)
            if first[kind] < 0:
                first[kind] = line
            if point and first_point < 0:
                first_point = line
        else:
            i = skip_line(buffer, i)
        i += 1
    if first[_BOTH] >= 0:
        return False, first[_BOTH]
    if first[_DECIMAL] < 0:
        return False, (-1 if first_point >= 0 or first[_EITHER] < 0 else first[_EITHER])
    wrong = max(first[_SEPARATE], first[_EITHER], first_point)
    return wrong < 0, wrong


@njit(cache=True)
def _to_points(buffer: Bytes, i: int, keyword: Bytes) -> None:
    n = len(buffer)
    while i < n:
        numbers = _numbers_from(buffer, i, keyword)
        if numbers < 0:
            i = skip_line(buffer, i) + 1
            continue
        i = numbers
        begins = True  # a token
        while i < n and not is_line_end(buffer[i]):
            if begins and is_comment(buffer, i):
                i = skip_line(buffer, i)
            elif buffer[i] == _QUOTE:
                i = past_quotes(buffer, i)
            else:
                if (
                    buffer[i] == _COMMA
                    and 0 < i < n - 1
                    and _is_digit(buffer[i - 1])
                    and _is_digit(buffer[i + 1])
                ):
                    buffer[i] = _POINT
                begins = is_blank(buffer[i])
                i += 1
        i += 1
