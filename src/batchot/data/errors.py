"""What is raised when data is missing, incomplete or damaged."""

from __future__ import annotations


class DataError(ValueError):
    """Data on disk cannot be used; the message says which file, what was expected, what to do.

    Example:
        >>> from batchot.data import DataError
        >>> issubclass(DataError, ValueError)
        True
    """


class DownloadError(DataError):
    """A file could not be downloaded from any of its addresses, each of which is named in the message.

    Example:
        >>> from batchot.data.errors import DataError, DownloadError
        >>> issubclass(DownloadError, DataError)
        True
    """
