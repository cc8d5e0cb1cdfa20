"""Shapes from files, streams and members of archives."""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from batchot.shapes.errors import ShapeError, ShapeWarning
from batchot.shapes.normalize import normalize_shape, turned_to_z, without_far_flats
from batchot.shapes.read_gltf import read_gltf
from batchot.shapes.read_hdf5 import read_hdf5
from batchot.shapes.read_kind import HDF5_MAGIC, kind_of, plain_text
from batchot.shapes.read_obj import read_obj
from batchot.shapes.read_off import read_off
from batchot.shapes.read_pcd import read_pcd
from batchot.shapes.read_ply import read_ply
from batchot.shapes.read_points import read_npy, read_text_points
from batchot.shapes.read_stl import read_stl
from batchot.shapes.shape import Mesh, Shape, Up

MAX_BYTES = 1 << 30
MAX_FACES = 10_000_000

_READERS = {
    "off": read_off, "obj": read_obj, "stl": read_stl, "ply": read_ply,
    "npy": read_npy, "pcd": read_pcd, "text": read_text_points,
}  # fmt: skip


def load_shape(
    path: str | os.PathLike[str],
    *,
    up: Up = "auto",
    normalize: bool = True,
    member: int | None = None,
    max_bytes: int = MAX_BYTES,
    max_faces: int = MAX_FACES,
) -> Shape:
    """Read a mesh (OFF, OBJ, STL, PLY, GLB, glTF) or a cloud of points (NPY, PLY, PCD, XYZ, TXT, PTS, CSV, HDF5).

    The content decides where it disagrees with the ending. Materials, textures and colours are not looked at, and no
    other file is opened but those with the numbers of a glTF file, in its own folder.

    Args:
        path: the file.
        up: the axis of the file that points up, turned to z. ``"auto"`` is y for GLB and glTF, whose specification
            says so, and z for every other format, as none of them says.
        normalize: centre the shape and scale it to the unit sphere, as ``normalize_shape`` does.
        member: which cloud of an HDF5 file, from 0.
        max_bytes: a larger file is refused before it is read.
        max_faces: a shape of more triangles, or points, is refused.

    Returns:
        A ``Mesh``, or a ``PointCloud`` where there is no surface, z up. What was left out of it, such as points that
        are NaN, or what will hardly be seen, is in its ``notes``, and each of these is a ``ShapeWarning``.

    Raises:
        ShapeError: whatever is wrong with the file; the message begins with its path and says what to do.
        ImportError: the format needs trimesh or h5py, which are not installed; the message says how to.

    Example:
        >>> import tempfile
        >>> from batchot.shapes import load_shape
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "triangle.off"
        ...     _ = path.write_text("OFF3 1 0\\n0 0 0\\n2 0 0\\n0 2 0\\n3 0 1 2\\n")
        ...     load_shape(path).vertices.max()
        np.float64(0.7071067811865475)
    """
    path = Path(path)
    try:
        size = _size(path)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        with path.open("rb") as file:
            if file.read(len(HDF5_MAGIC)) == HDF5_MAGIC:
                shape = _finished(read_hdf5(path, member), up, normalize, max_faces)
                return _told(shape, path)
            file.seek(0)
            data = file.read(max_bytes + 1)
        shape = _read(data, path.suffix.lower(), path.parent, up, normalize, member, max_bytes, max_faces)
        return _told(shape, path)
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from error
    except OSError as error:
        raise ShapeError(
            f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from error
    except MemoryError as error:
        raise ShapeError(
            f"{path}: does not fit into memory; simplify the shape, or close other programs"
        ) from error


def read_shape(
    data: bytes | BinaryIO,
    ending: str,
    name: str,
    *,
    up: Up = "auto",
    normalize: bool = True,
    member: int | None = None,
    max_bytes: int = MAX_BYTES,
    max_faces: int = MAX_FACES,
) -> Shape:
    """As ``load_shape``, from memory or a stream, such as a member of an archive.

    Args:
        data: the content, or a binary stream that is read to its end.
        ending: of its name, such as ``".off"``.
        name: how messages call it.
        up: as for ``load_shape``.
        normalize: as for ``load_shape``.
        member: as for ``load_shape``.
        max_bytes: as for ``load_shape``; no more is read from a stream.
        max_faces: as for ``load_shape``.

    Returns:
        The shape.

    Raises:
        ShapeError: as for ``load_shape``; a glTF file that names other files is refused, as there is no folder.

    Example:
        >>> from batchot.shapes import read_shape
        >>> read_shape(b"0 0 0\\n1 1 1\\n", ".xyz", "two points").points.shape
        (2, 3)
    """
    try:
        content = data if isinstance(data, bytes) else data.read(max_bytes + 1)
        shape = _read(content, ending.lower(), None, up, normalize, member, max_bytes, max_faces)
        return _told(shape, name)
    except ShapeError as error:
        raise ShapeError(f"{name}: {error}") from error
    except OSError as error:
        raise ShapeError(f"{name}: cannot be read ({error}); restore the archive it is in") from error
    except MemoryError as error:
        raise ShapeError(
            f"{name}: does not fit into memory; simplify the shape, or close other programs"
        ) from error


def _read(
    data: bytes,
    ending: str,
    folder: Path | None,
    up: Up,
    normalize: bool,
    member: int | None,
    max_bytes: int,
    max_faces: int,
) -> Shape:
    if len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    data = plain_text(data)
    if not data.strip():
        raise ShapeError("is empty; restore the file or leave it out")
    kind = kind_of(data, ending if not ending or ending.startswith(".") else f".{ending}")
    if member is not None and kind != "hdf5":
        raise ShapeError("has no members, which only HDF5 files have; leave member out")
    if kind == "hdf5":
        return _finished(read_hdf5(data, member), up, normalize, max_faces)
    if kind == "gltf":
        mesh = read_gltf(data, folder, max_bytes, max_faces)
        return _finished(mesh, "y" if up == "auto" else up, normalize, max_faces)
    return _finished(_READERS[kind](data), up, normalize, max_faces)


def _finished(shape: Shape, up: Up, normalize: bool, max_faces: int) -> Shape:
    what, n = ("faces", len(shape.faces)) if isinstance(shape, Mesh) else ("points", len(shape.points))
    if n > max_faces:
        raise ShapeError(
            f"has {n:,} {what}, the limit is {max_faces:,}; simplify the shape or raise max_faces"
        )
    # Done in any case, because it finds the shapes of no size and no area, of which nothing can be drawn.
    normalized = normalize_shape(shape, up)
    if normalize:
        return normalized
    return replace(turned_to_z(without_far_flats(shape), up), notes=normalized.notes)


def _told(shape: Shape, name: str | os.PathLike[str]) -> Shape:
    for note in shape.notes:
        warnings.warn(f"{name}: {note}", ShapeWarning, stacklevel=3)
    return shape


def _size(path: Path) -> int:
    try:
        status = path.stat()
    except ValueError as error:  # a zero byte in the name
        raise ShapeError(f"is no name of a file ({error}); check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise ShapeError("is a folder; give one file, or load the folder as a collection")
    if not stat.S_ISREG(status.st_mode):
        raise ShapeError("is no regular file (a pipe or a device); save the shape to a file")
    return status.st_size


def _too_large(size: int, max_bytes: int) -> ShapeError:
    return ShapeError(
        f"is larger than the limit ({size:,} of {max_bytes:,} bytes); simplify the shape or raise max_bytes"
    )
