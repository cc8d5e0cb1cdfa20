"""Packages that only some features need, imported when they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from batchot.shapes.errors import MissingExtraError


def require(module: str, extra: str = "shapes") -> ModuleType:
    """The module of that name, which an extra installs.

    Args:
        module: its import name, such as ``"trimesh"``.
        extra: the extra of batchot that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: it is not installed (an ``ImportError`` whose message has the command to type).

    Example:
        >>> from batchot.shapes.extra import require
        >>> require("math").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed for this and cannot be imported ({error}): pip install 'batchot[{extra}]'"
        ) from error
