"""Packages that only the search needs, imported when they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from batchot.shapes.errors import MissingExtraError


def require(module: str, extra: str = "search") -> ModuleType:
    """Give a module that an extra installs.

    Args:
        module: its import name, such as "lancedb"
        extra: its name

    Raises:
        MissingExtraError: it is not installed (an ImportError whose message has the command to type)

    >>> require("math").sqrt(4.0)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed for this and cannot be imported ({error}): pip install 'batchot[{extra}]'"
        ) from error
