"""Errors of the search, whose messages say what was wrong and what to do."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["format", "size", "time", "memory", "damaged", "blank"]


class SearchError(RuntimeError):
    """An index cannot be built, read or searched."""


class NotThere(SearchError):
    """What was asked for is not in the index."""


class Unavailable(SearchError):
    """The index cannot answer now: its store fails, or it is being made anew.

    The message may name paths of this machine: a server writes it into its log, and tells others less.
    """


class QueryRefused(SearchError):
    """A query, or a file to be indexed, cannot be taken.

    Args:
        message: what is wrong with it and what to do
        reason: the kind of fault: a format that is not taken, a limit on size, time or memory, damage, or a blank
            picture

    >>> QueryRefused("a.zip is a zip archive; unpack it", "format").reason
    'format'
    """

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
    """Give a message of a library without what only its programmers can use, and without control characters.

    >>> plain("cannot identify image file <_io.BytesIO object at 0x7f5c2ab0>")
    'cannot identify image file'
    >>> plain("lance error: no such file, /build/.cargo/registry/src/lance-1.0/src/dataset.rs:12:9")
    'lance error: no such file'
    """
    return printable(_INWARD.sub("", text)).strip()


def printable(text: str) -> str:
    r"""Give a text that a terminal can show: control characters, and bytes that are no text, as escapes.

    >>> printable("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text
    )
