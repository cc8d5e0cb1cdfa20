"""The two kinds of shape: a triangle mesh and a cloud of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]

Up: TypeAlias = Literal["auto", "z", "y"]
"""The axis of a file that points up; ``"auto"`` is y for glTF, whose specification says so, and z otherwise."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of triangles; a ``ShapeError`` says what is wrong with what it is made of."""

    vertices: Floats  # (n, 3), finite; not every one need be used by a face
    faces: Ints  # (m, 3), three indices of vertices for each triangle, m of at least 1
    # what a user should know of it, a sentence each, such as what was left out when it was read
    notes: tuple[str, ...] = ()
    unit: Literal["", "mm"] = (
        ""  # "mm" where the file says how large the shape is, and coordinates are in millimetres
    )

    def __post_init__(self) -> None:
        vertices = coordinates(self.vertices, "vertices")
        faces = np.ascontiguousarray(self.faces)
        if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
            raise ShapeError(
                f"faces must be (m, 3) whole numbers, these are {faces.shape} of {faces.dtype}; "
                "split polygons into triangles"
            )
        if len(faces) == 0:
            raise ShapeError("there are no faces; a cloud of points without a surface is a PointCloud")
        lowest, highest = int(faces.min()), int(faces.max())
        if lowest < 0 or highest >= len(vertices):
            wrong = lowest if lowest < 0 else highest
            raise ShapeError(f"a face names vertex {wrong}, there are {len(vertices)} (counted from 0)")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces.astype(np.int64, copy=False))


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points of a surface, with the directions in which it faces if these are known."""

    points: Floats  # (n, 3), finite, n of at least 1
    normals: Floats | None = None  # (n, 3), unit vectors, zero where not known
    notes: tuple[str, ...] = ()  # as for ``Mesh``

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", coordinates(self.points, "points"))
        if self.normals is not None:
            normals = coordinates(self.normals, "normals")
            if len(normals) != len(self.points):
                raise ShapeError(f"there are {len(self.points)} points and {len(normals)} normals")
            object.__setattr__(self, "normals", normals)


Shape: TypeAlias = Mesh | PointCloud


def finite_mesh(vertices: NDArray[Any], faces: NDArray[Any], notes: tuple[str, ...] = ()) -> Mesh:
    """The mesh without vertices that are NaN or infinite, and without the faces that use them."""
    finite = _finite_rows(vertices)
    if finite.all():
        return Mesh(vertices, faces, notes)
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        return Mesh(np.where(finite[:, None], vertices, 0.0), faces)  # which says what is wrong
    kept = finite[faces].all(axis=1)  # (m,)
    if len(faces) and not kept.any():
        raise ShapeError(
            f"all {len(faces):,} faces have corners that are not finite (NaN or infinite); restore the file"
        )
    lost = len(faces) - int(kept.sum())
    note = (
        f"{lost:,} of {len(faces):,} faces have corners that are not finite (NaN or infinite) and are left out"
        if lost
        else f"{int((~finite).sum()):,} of {len(finite):,} vertices are not finite (NaN or infinite) and are left out"
    )
    return Mesh(vertices[finite], (np.cumsum(finite) - 1)[faces[kept]], (note, *notes))


def finite_cloud(points: NDArray[Any], normals: NDArray[Any] | None = None) -> PointCloud:
    """The cloud without points that are NaN or infinite, as depth cameras write what they did not see."""
    finite = _finite_rows(points)
    if finite.all():
        return PointCloud(points, normals)
    if not finite.any():
        raise ShapeError(
            f"none of {len(finite):,} points is finite (all are NaN or infinite); leave the file out"
        )
    note = f"{int((~finite).sum()):,} of {len(finite):,} points are not finite (NaN or infinite) and are left out"
    return PointCloud(points[finite], None if normals is None else normals[finite], (note,))


def coordinates(values: Any, what: str) -> NDArray[np.float64]:
    """The values as (n, 3) float64, or a ``ShapeError`` that says what is wrong with them."""
    try:
        with np.errstate(invalid="ignore"):  # a signalling NaN, which is found below
            array = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{what} must be (n, 3) numbers: {error}") from error
    if array.ndim != 2 or array.shape[1] != 3:
        raise ShapeError(f"{what} must be (n, 3) numbers, these are {array.shape}")
    if len(array) == 0:
        raise ShapeError(f"there are no {what}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array).all(axis=1)).sum())
        raise ShapeError(f"{bad} of {len(array)} {what} are not finite (NaN or infinite)")
    return array


def _finite_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows are all finite, (n,); in one go where all are, as nearly always."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        finite = np.isfinite(values)
    return np.ones(len(values), dtype=bool) if finite.all() else finite.all(axis=1)
