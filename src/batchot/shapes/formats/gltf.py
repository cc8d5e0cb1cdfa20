"""Meshes and points in the glTF 2.0 format (GLB and JSON).

Read here and not by trimesh, which (as of 5.2) takes quadratic time for chains of nodes, 20 s for 200,000 nodes, and
passes over instances, skins, weights of morph targets and what a file requires of its reader.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.formats.gltf_parts import (
    INSTANCING,
    Accessors,
    Scene,
    check_asset,
    entry_of,
    placed,
    scene_of,
)
from batchot.shapes.formats.numbers import whole_number
from batchot.shapes.formats.polygons import mirrors, strip_triangles
from batchot.shapes.shape import Bools, Floats, Ints, Shape, finite_cloud, finite_mesh

_JSON, _BIN = 0x4E4F534A, 0x004E4942
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6  # modes; the others are lines


def read_gltf(data: bytes, folder: Path | None, max_bytes: int, max_faces: int) -> Shape:
    """All meshes of the scene in the content of a GLB or glTF file as one, with the transforms of their nodes."""
    tree, chunk = _parse_glb(data) if data.startswith(b"glTF") else (_parse_json(data), None)
    try:
        check_asset(tree)
        tree["nodes"] = tree.get("nodes") or [{"mesh": i} for i in range(len(tree.get("meshes", [])))]
        buffers = _Buffers(tree.get("buffers", []), chunk, folder, max_bytes)
        return _Reader(tree, scene_of(tree), Accessors(tree, buffers.content, max_faces), max_faces).read()
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError(
            f"its JSON is no glTF ({type(error).__name__}: {error}); the file is damaged: restore it"
        ) from error


@dataclass(frozen=True, eq=False)
class _Part:
    """A piece of surface, or of points, as its mesh has it."""

    points: NDArray[Any]  # (n, 3)
    faces: Ints  # (m, 3)


class _Uses:
    """The parts of a scene, and by which of many matrices (k, 4, 4) each of them is placed, as often as it is used."""

    def __init__(self, matrices: Floats) -> None:
        self.parts: list[_Part] = []
        self._which: list[int] = []  # numbers of parts
        self._by: list[int] = []  # numbers of matrices
        self._matrices, self._count = [matrices], len(matrices)

    def add(self, parts: range, matrix: int) -> None:
        """Use parts with one of the matrices that were there from the beginning."""
        self._which += parts
        self._by += [matrix] * len(parts)

    def add_with(self, parts: range, matrices: Floats) -> None:
        """Use parts with each of some further matrices."""
        self._which += list(parts) * len(matrices)
        self._by += np.repeat(np.arange(self._count, self._count + len(matrices)), len(parts)).tolist()
        self._matrices.append(matrices)
        self._count += len(matrices)

    def placed(self) -> tuple[Floats, Ints]:
        """All points and faces."""
        which, by = np.array(self._which), np.array(self._by)
        points = np.concatenate([part.points for part in self.parts])
        faces = np.concatenate([part.faces for part in self.parts])
        points_to = np.cumsum([len(part.points) for part in self.parts])
        faces_to = np.cumsum([len(part.faces) for part in self.parts])
        n, m = (np.diff(ends, prepend=0)[which].sum() for ends in (points_to, faces_to))
        all_points, all_faces = np.empty((n, 3)), np.empty((m, 3), dtype=np.int64)
        matrices = np.concatenate(self._matrices)
        over = mirrors(matrices)
        _place(points, points_to, faces, faces_to, which, by, matrices, over, all_points, all_faces)
        return all_points, all_faces


class _Reader:
    """Puts together what is shown of a scene."""

    def __init__(self, tree: dict[str, Any], scene: Scene, accessors: Accessors, max_faces: int) -> None:
        self.tree, self.scene, self.accessors, self.max_faces = tree, scene, accessors, max_faces
        self.nodes, self.meshes = tree["nodes"], tree.get("meshes", [])
        self.sizes: dict[Any, int] = {}  # of meshes
        self.known: dict[Any, range] = {}  # the parts of meshes that no node changes
        self.uses = _Uses(scene.world)

    def read(self) -> Shape:
        """The mesh of all triangles, or the cloud of all points where there are none."""
        shown = [i for i in self.scene.shown if "mesh" in self.nodes[i]]
        for modes, what in (((_TRIANGLES, _STRIP, _FAN), "faces"), ((_POINTS,), "points")):
            self.sizes.clear()
            sizes = [self._size(i, modes) for i in shown]
            total = sum(sizes)
            if total > self.max_faces:
                raise ShapeError(
                    f"its scene has {total:,} {what}, the limit is {self.max_faces:,}; simplify it or raise max_faces"
                )
            if total:
                for i, size in zip(shown, sizes, strict=True):
                    if size:
                        self._use(i, modes)
                points, faces = self.uses.placed()
                return finite_mesh(points, faces) if what == "faces" else finite_cloud(points)
        raise ShapeError("its scene has no triangles and no points; save a mesh")

    def _size(self, i: int, modes: tuple[int, ...]) -> int:
        """How many triangles, or points, a node shows."""
        mesh = self.nodes[i]["mesh"]
        if mesh not in self.sizes:
            self.sizes[mesh] = sum(
                self._primitive_size(primitive)
                for primitive in entry_of(self.meshes, mesh)["primitives"]
                if primitive.get("mode", _TRIANGLES) in modes
            )
        instances = self._instances(i)
        times = 1 if not instances else max(map(self.accessors.count, instances.values()))
        return self.sizes[mesh] * times

    def _primitive_size(self, primitive: dict[str, Any]) -> int:
        mode = primitive.get("mode", _TRIANGLES)
        if (
            primitive["attributes"].get("POSITION") is None
        ):  # an extension may give them, else it is not shown
            return 0
        corners = self.accessors.count(primitive.get("indices", primitive["attributes"]["POSITION"]))
        if mode == _POINTS:
            return corners
        return corners // 3 if mode == _TRIANGLES else max(corners - 2, 0)

    def _instances(self, i: int) -> dict[str, Any]:
        """The accessors of the transforms of a node's instances; none where it has none."""
        found = (self.nodes[i].get("extensions") or {}).get(INSTANCING)
        transforms = ("TRANSLATION", "ROTATION", "SCALE")
        return {k: v for k, v in found["attributes"].items() if k in transforms} if found is not None else {}

    def _use(self, i: int, modes: tuple[int, ...]) -> None:
        node = self.nodes[i]
        mesh = self.meshes[node["mesh"]]
        key = node["mesh"] if not {"weights", "skin"} & set(node) else ("node", i)
        if key not in self.known:
            begin = len(self.uses.parts)
            self.uses.parts += [
                self._part(primitive, mesh, node)
                for primitive in mesh["primitives"]
                if primitive.get("mode", _TRIANGLES) in modes and self._primitive_size(primitive)
            ]
            self.known[key] = range(begin, len(self.uses.parts))
        if "skin" in node:
            self.uses.add_with(self.known[key], np.eye(4)[None])  # its joints alone say where it is
        elif instances := self._instances(i):
            self.uses.add_with(self.known[key], self.scene.world[i] @ self._instance_matrices(instances))
        else:
            self.uses.add(self.known[key], i)

    def _instance_matrices(self, attributes: dict[str, Any]) -> Floats:
        counts = {self.accessors.count(index) for index in attributes.values()}
        if len(counts) != 1:
            raise ValueError("attributes of instances differ in length")
        (count,) = counts
        given = {
            name: self.accessors.floats(index, "VEC4" if name == "ROTATION" else "VEC3")
            for name, index in attributes.items()
        }
        return placed(
            given.get("TRANSLATION", np.zeros((count, 3))),
            given.get("ROTATION", np.tile([0.0, 0.0, 0.0, 1.0], (count, 1))),
            given.get("SCALE", np.ones((count, 3))),
        )

    def _part(self, primitive: dict[str, Any], mesh: dict[str, Any], node: dict[str, Any]) -> _Part:
        mode, attributes = primitive.get("mode", _TRIANGLES), primitive["attributes"]
        position = attributes["POSITION"]
        n = self.accessors.count(position)
        if not all(map(self.accessors.has_numbers, [position, primitive.get("indices", position)])):
            raise ShapeError(
                "some of its numbers are compressed by an extension, which is not read; save it without"
            )
        if "indices" in primitive:
            indices = self.accessors.whole(primitive["indices"], "SCALAR")[:, 0].astype(np.int64)
            if indices.max() >= n:
                raise ShapeError(
                    f"a face names vertex {indices.max()}, there are {n:,} (counted from 0); the file is damaged: "
                    "restore it"
                )
            # Many primitives may share one list of vertices, so only those are taken that this one uses.
            first = int(indices.min())
            rows: Any = slice(first, int(indices.max()) + 1)
            indices = indices - first
            if rows.stop - first > len(indices):
                rows, indices = np.unique(indices + first, return_inverse=True)
        else:
            indices, rows = np.arange(n), slice(n)
        points = self._deformed(rows, primitive, mesh, node)
        if mode == _TRIANGLES:
            faces = indices[: len(indices) // 3 * 3].reshape(-1, 3)
        elif mode == _STRIP:
            faces = strip_triangles(indices)
        elif mode == _FAN:
            faces = np.stack(
                [np.full(max(len(indices) - 2, 0), indices[0]), indices[1:-1], indices[2:]], axis=1
            )
        else:
            faces = np.empty((0, 3), dtype=np.int64)
        return _Part(points, faces)

    def _deformed(
        self, rows: Any, primitive: dict[str, Any], mesh: dict[str, Any], node: dict[str, Any]
    ) -> NDArray[Any]:
        """Rows of the vertices, moved by morph targets and joints."""
        attributes = primitive["attributes"]
        points = self.accessors.floats(attributes["POSITION"], "VEC3", rows)
        weights = node.get("weights", mesh.get("weights")) or []
        for weight, target in zip(weights, primitive.get("targets") or [], strict=False):
            if weight and "POSITION" in target:
                points += float(weight) * self.accessors.floats(target["POSITION"], "VEC3", rows)
        return self._skinned(points, rows, attributes, node["skin"]) if "skin" in node else points

    def _skinned(self, points: Floats, rows: Any, attributes: dict[str, Any], skin_index: Any) -> Floats:
        skin = entry_of(self.tree.get("skins", []), skin_index)
        for joint in skin["joints"]:
            entry_of(self.nodes, joint)
        matrices = self.scene.world[skin["joints"]]
        if "inverseBindMatrices" in skin:
            inverse = self.accessors.floats(skin["inverseBindMatrices"], "MAT4")[: len(matrices)]
            matrices = matrices @ inverse.reshape(-1, 4, 4).transpose(0, 2, 1)
        moved, total = np.zeros_like(points), np.zeros((len(points), 1))
        for k in range(len(attributes)):
            if f"JOINTS_{k}" not in attributes:
                break
            joints = self.accessors.whole(attributes[f"JOINTS_{k}"], "VEC4")[rows]
            weights = self.accessors.floats(attributes[f"WEIGHTS_{k}"], "VEC4", rows)
            for column in range(4):
                weight = weights[:, column, None]
                matrix = matrices[np.where(weight[:, 0] != 0, joints[:, column], 0)]
                moved += weight * (np.einsum("nij,nj->ni", matrix[:, :3, :3], points) + matrix[:, :3, 3])
                total += weight
        return np.where(total != 0, moved / np.where(total != 0, total, 1), points)


@njit(cache=True)
def _place(
    points: Floats,
    points_to: Ints,
    faces: Ints,
    faces_to: Ints,
    which: Ints,
    by: Ints,
    matrices: Floats,
    over: Bools,
    all_points: Floats,
    all_faces: Ints,
) -> None:
    """Put a copy of a part wherever it is used, its triangles turned over where the matrix mirrors it."""
    n = 0
    m = 0
    for use in range(len(which)):
        part = which[use]
        for j in range(faces_to[part - 1] if part else 0, faces_to[part]):
            for corner in range(3):
                all_faces[m, corner] = faces[j, 2 - corner if over[by[use]] else corner] + n
            m += 1
        for i in range(points_to[part - 1] if part else 0, points_to[part]):
            for row in range(3):
                total = matrices[by[use], row, 3]
                for column in range(3):
                    total += matrices[by[use], row, column] * points[i, column]
                all_points[n, row] = total
            n += 1


def _parse_glb(data: bytes) -> tuple[Any, bytes | None]:
    """The JSON and the first binary chunk of a GLB file."""
    if len(data) < 20:
        raise ShapeError(f"is {len(data)} bytes long, too short for a GLB file; it is truncated: restore it")
    _, version, length, size, kind = struct.unpack_from("<5I", data)
    if version != 2:
        raise ShapeError(f"is glTF {version}, only version 2 is read; save it as glTF 2.0")
    if length > len(data) or kind != _JSON or 20 + size > length:
        raise ShapeError(
            f"announces {length:,} bytes, {size:,} of them JSON, and has {len(data):,}; the file is "
            f"{'truncated' if length > len(data) else 'damaged'}: restore it"
        )
    chunk = None
    position = 20 + size
    while position + 8 <= length:
        more, kind = struct.unpack_from("<2I", data, position)
        if position + 8 + more > length:
            raise ShapeError("its binary part is longer than the file; the file is damaged: restore it")
        if kind == _BIN and chunk is None:
            chunk = data[position + 8 : position + 8 + more]
        position += 8 + more
    return _parse_json(data[20 : 20 + size].rstrip(b"\0")), chunk  # which should be blanks


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(data, parse_int=whole_number)
    except (ValueError, RecursionError) as error:
        raise ShapeError(f"its JSON cannot be read ({error}); the file is damaged: restore it") from error


class _Buffers:
    """The contents of buffers, read when they are first asked for."""

    def __init__(self, entries: list[Any], chunk: bytes | None, folder: Path | None, max_bytes: int) -> None:
        self._entries, self._chunk, self._folder, self._left = entries, chunk, folder, max_bytes
        self._known: dict[int, bytes] = {}

    def content(self, index: int) -> bytes:
        """The bytes of a buffer."""
        if index not in self._known:
            entry = entry_of(self._entries, index)
            content = self._read(index, entry.get("uri"))
            announced = int(entry["byteLength"])
            if len(content) < announced:
                raise ShapeError(
                    f"buffer {index} has {len(content):,} of {announced:,} bytes; the file is truncated: restore it"
                )
            self._known[index] = content
        return self._known[index]

    def _read(self, index: int, uri: Any) -> bytes:
        if uri is None:
            if index or self._chunk is None:
                raise ShapeError(f"buffer {index} has no content; save the file without compression")
            return self._chunk
        if not isinstance(uri, str):
            raise TypeError("the uri of a buffer is no text")
        if uri[:5].lower() == "data:":
            kind, _, text = uri.partition(",")
            if kind.lower().endswith(";base64"):
                return base64.b64decode(unquote(text))
            return unquote_to_bytes(text)
        content = _read_named(uri, self._folder, self._left)
        self._left -= len(content)
        return content


def _read_named(uri: str, folder: Path | None, max_bytes: int) -> bytes:
    shown = uri[:100]
    if folder is None:
        raise ShapeError(
            f"names another file ({shown!r}), which an archive or stream does not give; save it as .glb"
        )
    try:
        path = (folder / unquote(uri)).resolve()
        if not path.exists() and "%" in uri:  # a name that was not quoted
            path = (folder / uri).resolve()
        inside = path.is_relative_to(folder.resolve())
        if "://" in uri or not inside:
            raise ShapeError(
                f"names {shown!r}, which is not in its folder; put it beside the file, or save as .glb"
            )
        if not path.is_file():
            raise ShapeError(f"names {shown!r}, which is missing; put it beside the file, or save as .glb")
        if path.stat().st_size > max_bytes:
            raise ShapeError(
                f"names {shown!r}, which is larger than the limit; raise max_bytes if memory allows"
            )
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError(f"names {shown!r}, which cannot be read ({error}); save it as .glb") from error
