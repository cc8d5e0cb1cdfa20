"""Packages that only some features need, imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from batchot.shapes.errors import MissingExtraError

EXTRAS = {
    "PIL": "train",
    "docstring_parser": "train",
    "jsonargparse": "train",
    "lightning": "train",
    "matplotlib": "train",
    "pooch": "train",
    "scipy": "train",
    "sklearn": "train",
    "tensorboard": "train",
    "tqdm": "train",
    "yaml": "train",
    "h5py": "shapes",
    "transformers": "shapes",
    "trimesh": "shapes",
    "timm": "timm",
    "fast_simplification": "search",
    "fastapi": "search",
    "filelock": "search",
    "lancedb": "search",
    "multipart": "search",
    "nicegui": "search",
    "pyarrow": "search",
    "starlette": "search",
    "swagger_ui_bundle": "search",
    "uvicorn": "search",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "optuna": "compare",
    "ot": "compare",
    "pytorch_metric_learning": "compare",
    "ray": "ray",
}
"""Import names of packages, and the extra of batchot that installs each."""


@contextmanager
def extras_named() -> Iterator[None]:
    """Raise MissingExtraError, which has the command to type, where a package of an extra is missing within.

    Example:
        >>> with extras_named():
        ...     import math
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise MissingExtraError(
            f"{package} is needed for this and is not installed: pip install 'batchot[{EXTRAS[package]}]'",
            name=error.name,
        ) from error


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
