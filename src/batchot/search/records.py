"""What an index knows of a shape."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ShapeRecord:
    """A shape as it is stored.

    Args:
        id: of `record_id`
        name: path relative to the folder that was indexed, with "/" and, in an archive, "#member"; unique in an index
        folder: its parent, "" at the top
        class_name: "" where it is not known
        path: absolute path of the file when it was indexed
        member: of an archive or HDF5 file
        content: SHA-256 of what it was read from, hexadecimal
        kind: "mesh" or "cloud"
        faces: triangles; 0 for clouds
        vertices: corners, or points
        size: extents along x, y and z, z up, in the units of the file
        vector: embedding, (d,)
        thumbnail: WebP or PNG picture
        preview: GLB file
    """

    id: str
    name: str
    folder: str
    class_name: str
    path: str
    member: str | None
    content: str
    kind: Literal["mesh", "cloud"]
    faces: int
    vertices: int
    size: tuple[float, float, float]
    vector: NDArray[np.float32]  # (d,)
    thumbnail: bytes
    preview: bytes


@dataclass(frozen=True)
class Hit:
    """A shape that was found.

    Args:
        id: see `ShapeRecord`, as all but the last
        name: in the index
        folder: its parent
        class_name: "" where it is not known
        kind: "mesh" or "cloud"
        faces: triangles
        vertices: corners, or points
        size: extents along x, y and z
        path: of the file when it was indexed
        member: of an archive
        distance: Euclidean, between the embeddings of query and shape
        likeness: calibrated probability that the shape is of the query's class; None: there is no calibration
        same_file: the shape was read from the very file that was asked for
        nearly_same: it is all but the query: as near as few shapes are, and of the same proportions
    """

    id: str
    name: str
    folder: str
    class_name: str
    kind: Literal["mesh", "cloud"]
    faces: int
    vertices: int
    size: tuple[float, float, float]
    path: str
    member: str | None
    distance: float = 0.0
    likeness: float | None = None
    same_file: bool = False
    nearly_same: bool = False


def record_id(name: str) -> str:
    """Give the id of a shape, the same wherever the index lies.

    Args:
        name: in the index

    Returns:
        24 hexadecimal digits.

    >>> record_id("chair/1.off")
    '6267d31daa6f90d895c9c121'
    """
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
