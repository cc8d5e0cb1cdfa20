"""3MF files, read by the library of the 3MF Consortium."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError, require
from batchot.shapes.shape import Mesh, finite_mesh

_MM = (0.001, 1.0, 10.0, 25.4, 304.8, 1000.0)  # micrometre, millimetre, centimetre, inch, foot, metre
_SUPPORT = 2  # holds the print up, and is no part of the shape
_MOST_DEEP = 100
_MOST_COMPONENTS = 100_000
_TAGS = re.compile(rb"<(?:[\w.-]+:)?(object|component)\s([^>]*)>")
_ATTRIBUTES = re.compile(rb"(?:[\w.-]+:)?([\w.-]+)\s*=\s*[\"']([^\"']*)[\"']")


def read_3mf(data: bytes, max_bytes: int, max_faces: int) -> Mesh:
    """All that the content of a 3MF file says to build as one mesh, in millimetres, z up."""
    lib3mf = require("lib3mf", "cad")
    try:  # a member is not unpacked beyond the size that the archive says it has
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > max_bytes:
                raise ShapeError(
                    f"unpacks to {size:,} bytes, the limit is {max_bytes:,}; simplify the shape or raise max_bytes"
                )
            _check_components(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ShapeError(f"is a damaged 3MF file ({error}); restore it") from error
    wrapper = lib3mf.get_wrapper()
    model = wrapper.CreateModel()
    reader = model.QueryReader("3mf")
    try:
        reader.ReadFromBuffer(data)
        return _Objects(model, max_faces).built(float(_MM[int(model.GetUnit())]))
    except lib3mf.ELib3MFException as error:
        raise ShapeError(
            f"cannot be read as 3MF ({str(error).splitlines()[0][:200]}); restore it, or save it again"
        ) from error


class _Objects:
    """The objects of a model, each read once."""

    def __init__(self, model: Any, max_faces: int) -> None:
        self.model, self.max_faces = model, max_faces
        self.meshes: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
        self.components: dict[int, list[tuple[int, NDArray[np.float64]]]] = {}
        self.sizes: dict[int, int] = {}

    def built(self, scale: float) -> Mesh:
        """What the model says to build."""
        items, total = [], 0
        iterator = self.model.GetBuildItems()
        while iterator.MoveNext():
            item = iterator.GetCurrent()
            key = self._read(item.GetObjectResource(), 0)
            items.append(
                (key, _matrix(item.GetObjectTransform()) if item.HasObjectTransform() else np.eye(4))
            )
            total += self.sizes[key]
        if total > self.max_faces:
            raise ShapeError(
                f"has {total:,} faces, the limit is {self.max_faces:,}; simplify the shape or raise max_faces"
            )
        placed: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
        for key, matrix in items:
            self._place(key, matrix, placed)
        if not placed:
            raise ShapeError("says to build nothing; save it again with the objects on the build plate")
        starts = np.cumsum([0, *(len(points) for points, _ in placed)])
        faces = np.concatenate([part + start for (_, part), start in zip(placed, starts, strict=False)])
        mesh = finite_mesh(scale * np.concatenate([points for points, _ in placed]), faces)
        return Mesh(mesh.vertices, mesh.faces, mesh.notes, "mm")

    def _read(self, thing: Any, depth: int) -> int:
        """Read an object and all that it is put together from; its number."""
        key = int(thing.GetUniqueResourceID())
        if key in self.sizes:
            return key
        if depth > _MOST_DEEP:
            raise ShapeError(
                f"has components within components more than {_MOST_DEEP} deep; save it flattened"
            )
        if int(thing.GetType()) == _SUPPORT:
            self.sizes[key] = 0
        elif thing.IsMeshObject():
            mesh = self.model.GetMeshObjectByID(key)
            if mesh.BeamLattice().GetBeamCount():
                raise ShapeError("has a lattice of beams, which is not read; save it as triangles")
            self.sizes[key] = mesh.GetTriangleCount()
            if self.sizes[key] > self.max_faces:
                raise ShapeError(
                    f"has {self.sizes[key]:,} faces, the limit is {self.max_faces:,}; simplify the shape"
                )
            self.meshes[key] = (
                _array(mesh.GetVertices(), np.float32).astype(np.float64),
                _array(mesh.GetTriangleIndices(), np.uint32).astype(np.int64),
            )
        elif thing.IsComponentsObject():
            whole = self.model.GetComponentsObjectByID(key)
            parts = [whole.GetComponent(i) for i in range(whole.GetComponentCount())]
            self.components[key] = [
                (self._read(part.GetObjectResource(), depth + 1), _matrix(part.GetTransform()))
                for part in parts
            ]
            self.sizes[key] = sum(self.sizes[other] for other, _ in self.components[key])
        else:
            raise ShapeError(
                "has objects that are no meshes (volumes), which are not read; save it as triangles"
            )
        return key

    def _place(self, key: int, matrix: NDArray[np.float64], placed: list[Any]) -> None:
        if not self.sizes[key]:
            return
        if key in self.meshes:
            points, faces = self.meshes[key]
            placed.append((points @ matrix[:3, :3].T + matrix[:3, 3], faces))
        for other, inner in self.components.get(key, ()):
            self._place(other, matrix @ inner, placed)


def _array(rows: list[Any], kind: type) -> NDArray[Any]:
    return np.frombuffer(b"".join(map(bytes, rows)), kind).reshape(-1, 3)


def _matrix(transform: Any) -> NDArray[np.float64]:
    """The transform as a matrix that stands before columns; 3MF has it behind rows."""
    matrix = np.eye(4)
    matrix[:3] = np.array([list(row) for row in transform.Fields], dtype=np.float64).T
    return matrix


def _check_components(archive: zipfile.ZipFile) -> None:
    """Refuse objects that a short file puts together 2^40 times, for which lib3mf (as of 2.5) takes endless time."""
    inner: dict[tuple[str, bytes], list[tuple[str, bytes]]] = {}
    for member in archive.namelist():
        if not member.lower().endswith(".model"):
            continue
        name, key = "/" + member.lstrip("/"), (member, b"")
        for tag, attributes in _TAGS.findall(archive.read(member)):
            values = dict(_ATTRIBUTES.findall(attributes))
            if tag == b"object":
                key = (name, values.get(b"id", b""))
            else:
                there = values.get(b"path", name.encode()).decode(errors="replace")
                inner.setdefault(key, []).append((there, values.get(b"objectid", b"")))
    sizes: dict[tuple[str, bytes], int] = {}

    def size(key: tuple[str, bytes], depth: int) -> int:
        if depth > _MOST_DEEP:
            raise ShapeError(
                f"has components within components more than {_MOST_DEEP} deep; save it flattened"
            )
        if key not in sizes:
            sizes[key] = 1 + sum(size(other, depth + 1) for other in inner.get(key, ()))
        return sizes[key]

    if (most := max((size(key, 0) for key in inner), default=0)) > _MOST_COMPONENTS:
        raise ShapeError(
            f"is put together from {most:,} components, the limit is {_MOST_COMPONENTS:,}; simplify it"
        )
