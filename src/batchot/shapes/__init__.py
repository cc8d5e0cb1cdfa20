"""3D shapes: read, normalise, sample, draw and generate them, without torch.

The names below are loaded when they are first used, so that importing one does not import all.

Example:
    >>> from batchot.shapes import read_shape, sample_surface
    >>> mesh = read_shape(b"OFF3 1 0\\n0 0 0\\n2 0 0\\n0 2 0\\n3 0 1 2\\n", ".off", "a triangle")
    >>> sample_surface(mesh, 1024, seed=0).points.shape
    (1024, 3)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchot.errors import MissingExtraError, ShapeError, ShapeWarning
    from batchot.shapes.formats.points import read_hdf5_clouds
    from batchot.shapes.formats.read import load_shape, read_shape
    from batchot.shapes.normalize import normalize_shape
    from batchot.shapes.sample import farthest_points, sample_surface
    from batchot.shapes.shape import Mesh, PointCloud, Shape, Up

_HOMES = {
    "Mesh": "batchot.shapes.shape",
    "MissingExtraError": "batchot.errors",
    "PointCloud": "batchot.shapes.shape",
    "Shape": "batchot.shapes.shape",
    "ShapeError": "batchot.errors",
    "ShapeWarning": "batchot.errors",
    "Up": "batchot.shapes.shape",
    "farthest_points": "batchot.shapes.sample",
    "load_shape": "batchot.shapes.formats.read",
    "normalize_shape": "batchot.shapes.normalize",
    "read_hdf5_clouds": "batchot.shapes.formats.points",
    "read_shape": "batchot.shapes.formats.read",
    "sample_surface": "batchot.shapes.sample",
}

__all__ = [
    "Mesh",
    "MissingExtraError",
    "PointCloud",
    "Shape",
    "ShapeError",
    "ShapeWarning",
    "Up",
    "farthest_points",
    "load_shape",
    "normalize_shape",
    "read_hdf5_clouds",
    "read_shape",
    "sample_surface",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'batchot.shapes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
