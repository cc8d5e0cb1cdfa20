"""What users are told, which extra brings a missing package, and names that are loaded when first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

Tell = Callable[[str], None]


def nobody(text: str) -> None:
    """Tell no one; what is done where no one is to be told."""


class ShapeError(ValueError):
    """A shape cannot be read or used; the message says which file, what is wrong with it and what to do."""


class ShapeWarning(UserWarning):
    """A shape was read, but something of it was left out or will hardly be seen; the message says what."""


class MissingExtraError(ImportError):
    """A package that only some features need is not installed; the message says how to install it."""


class DataError(ValueError):
    """Data on disk cannot be used; the message says which file, what was expected, what to do."""


class DownloadError(DataError):
    """A file could not be downloaded from any of its addresses, each of which is named in the message."""


class RunError(RuntimeError):
    """A run cannot start, go on or be read; the message says why and what to do."""


class RunInterrupted(Exception):
    """The user stopped the run; a checkpoint has been written."""


class Diverged(RunError):
    """The loss of a run, or its embeddings, are no longer finite."""


class SearchError(RuntimeError):
    """An index cannot be built, read or searched."""


class ExportError(RuntimeError):
    """A network cannot be exported, or an export cannot be read; the message says why and what to do."""


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_PACKAGES = {
    "train": "PIL docstring_parser jsonargparse lightning matplotlib pooch scipy sklearn tensorboard tqdm yaml",
    "shapes": "h5py transformers trimesh",
    "cad": "cascadio collada lib3mf",
    "timm": "timm",
    "search": "fast_simplification fastapi filelock lancedb multipart nicegui pyarrow starlette swagger_ui_bundle "
    "uvicorn",
    "export": "onnx onnxruntime onnxscript safetensors",
    "compare": "optuna ot pytorch_metric_learning",
    "ray": "ray",
}
EXTRAS = {package: extra for extra, packages in _PACKAGES.items() for package in packages.split()}
"""Import names of packages, and the extra of batchot that installs each."""


@contextmanager
def extras_named() -> Iterator[None]:
    """Raise MissingExtraError, which has the command to type, where a package of an extra is missing within."""
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
    """The module of that name, which an extra installs."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed for this and cannot be imported ({error}): pip install 'batchot[{extra}]'"
        ) from error


def lazily(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Give `__getattr__` and `__dir__` of a package that loads the names listed by module when they are first used."""
    homes = {name: module for module, listed in names.items() for name in listed.split()}

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with extras_named():
            return getattr(import_module(f"batchot.{homes[name]}"), name)

    return load, lambda: sorted({*vars(sys.modules[package]), *homes})
