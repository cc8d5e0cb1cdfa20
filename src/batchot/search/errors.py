"""Errors of the search, whose messages say what was wrong and what to do."""

from __future__ import annotations

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["format", "size", "time", "memory", "damaged", "blank"]


class SearchError(RuntimeError):
    """An index cannot be built, read or searched."""


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
