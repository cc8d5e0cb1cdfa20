"""3D shapes: read, normalise, sample, draw and generate them, without torch.

The names below are loaded when they are first used, so that importing one does not import all.

Example:
    >>> from batchot.shapes import read_shape, sample_surface
    >>> mesh = read_shape(b"OFF3 1 0\\n0 0 0\\n2 0 0\\n0 2 0\\n3 0 1 2\\n", ".off", "a triangle")
    >>> sample_surface(mesh, 1024, seed=0).points.shape
    (1024, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchot.errors import lazily

if TYPE_CHECKING:
    from batchot.errors import MissingExtraError, ShapeError, ShapeWarning
    from batchot.shapes.formats.archives import read_hdf5_clouds
    from batchot.shapes.formats.read import load_shape, read_shape
    from batchot.shapes.normalize import normalize_shape
    from batchot.shapes.sample import farthest_points, sample_surface
    from batchot.shapes.shape import Mesh, PointCloud, Shape, Up

__getattr__, __dir__ = lazily(
    __name__,
    {
        "errors": "MissingExtraError ShapeError ShapeWarning",
        "shapes.formats.archives": "read_hdf5_clouds",
        "shapes.formats.read": "load_shape read_shape",
        "shapes.normalize": "normalize_shape",
        "shapes.sample": "farthest_points sample_surface",
        "shapes.shape": "Mesh PointCloud Shape Up",
    },
)

__all__ = [
    "Mesh", "MissingExtraError", "PointCloud", "Shape", "ShapeError", "ShapeWarning", "Up", "farthest_points",
    "load_shape", "normalize_shape", "read_hdf5_clouds", "read_shape", "sample_surface",
]  # fmt: skip
