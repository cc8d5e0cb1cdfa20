"""What is raised when a shape cannot be used."""

from __future__ import annotations


class ShapeError(ValueError):
    """A shape cannot be read or used; the message says which file, what is wrong with it and what to do.

    Example:
        >>> from batchot.shapes import ShapeError
        >>> issubclass(ShapeError, ValueError)
        True
    """


class ShapeWarning(UserWarning):
    """A shape was read, but something of it was left out or will hardly be seen; the message says what.

    Example:
        >>> from batchot.shapes import ShapeWarning
        >>> issubclass(ShapeWarning, UserWarning)
        True
    """


class MissingExtraError(ImportError):
    """A package that only some features need is not installed; the message says how to install it.

    Example:
        >>> from batchot.shapes.errors import MissingExtraError
        >>> issubclass(MissingExtraError, ImportError)
        True
    """
