"""What ``module:name`` names: a network, a loss or a data set of the user's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def is_own(name: str) -> bool:
    """Say whether a name is that of the user's own code."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(map(str.isidentifier, module.split(".")))


def import_own(name: str) -> None:
    """Import the module of ``module:name``, so that :func:`own` finds it."""
    module = name.partition(":")[0]
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever the module does
        hint = "; is its folder on the path? PYTHONPATH=. batchot ..." if _missing(error, module) else ""
        raise ValueError(
            f"{name}: {module} cannot be imported ({type(error).__name__}: {error}){hint}"
        ) from error


def own(name: str) -> Callable[..., Any]:
    """Return the callable that ``module:name`` names."""
    module, _, attribute = name.partition(":")
    if module not in sys.modules:
        raise ValueError(
            f"{name}: {module} is not imported; if you trust it, import {module} first, or "
            f"batchot --import {module} ..."
        )
    found = getattr(sys.modules[module], attribute, None)
    if not callable(found):
        what = "has no" if found is None else "has, but cannot call,"
        raise ValueError(f"{name}: {module} {what} {attribute!r}")
    made: Callable[..., Any] = found
    return made


def _missing(error: Exception, module: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
