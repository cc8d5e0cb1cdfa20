"""Trained networks as ONNX and safetensors, and back.

The names below are loaded when they are first used: reading an export needs nothing of what trains networks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchot.errors import ExportError
    from batchot.export.folder import Exported, export_run
    from batchot.towers.saved import load_exported

_HOMES = {
    "ExportError": "batchot.errors",
    "Exported": "batchot.export.folder",
    "export_run": "batchot.export.folder",
    "load_exported": "batchot.towers.saved",
}

__all__ = ["ExportError", "Exported", "export_run", "load_exported"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from batchot.errors import extras_named

        with extras_named():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'batchot.export' has no attribute {name!r}")
