"""COLLADA and 3MF: scenes in XML."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError, require
from batchot.shapes.formats.polygons import cut_polygons, mirrors
from batchot.shapes.shape import Floats, Ints, Mesh, Up, finite_mesh

_ENCODING = re.compile(rb"<\?xml[^>]*encoding\s*=\s*[\"']([^\"']*)")
_PLAIN = {b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"windows-1252"}
_WHOLE = re.compile(r"\s*(?:\d{1,9}(?:\s+|$))*")  # as more digits may not fit 32 bits
_MOST_NODES = 1_000_000
# Looks, movement and light, of which a fault does not matter and an image would be another file.
_NOT_NEEDED = {
    "library_effects", "library_materials", "library_images", "library_animations", "library_cameras",
    "library_lights", "library_controllers", "bind_material", "instance_camera", "instance_light", "extra",
    "linestrips", "lines",
}  # fmt: skip
_UP: dict[str, Literal["x", "y", "z"]] = {"X_UP": "x", "Y_UP": "y", "Z_UP": "z"}


def read_dae(data: bytes, max_faces: int) -> tuple[Mesh, Up]:
    """All meshes of the scene in the content of a COLLADA file as one, and the axis that it says points up."""
    collada = require("collada", "cad")
    root = _checked(data)
    try:
        with np.errstate(all="ignore"):
            scene = collada.Collada(io.BytesIO(ElementTree.tostring(root))).scene
            if scene is None:
                raise ShapeError("has no scene that is shown; save it again with the program that made it")
            points, faces, offset, total = [], [], 0, 0
            known: dict[int, Floats] = {}
            for bound in scene.objects("geometry"):
                for primitive in bound.original.primitives:
                    if primitive.vertex is None:
                        continue
                    vertices = _positions(primitive, known)
                    corners = _triangles(primitive, vertices)
                    total += len(corners)
                    if total > max_faces:
                        raise ShapeError(
                            f"has {total:,} faces or more, the limit is {max_faces:,}; simplify it or raise max_faces"
                        )
                    used, renumbered = np.unique(corners, return_inverse=True)
                    matrix = np.asarray(bound.matrix, dtype=np.float64)
                    points.append(vertices[used] @ matrix[:3, :3].T + matrix[:3, 3])
                    renumbered = renumbered.reshape(-1, 3)
                    faces.append((renumbered[:, ::-1] if mirrors(matrix) else renumbered) + offset)
                    offset += len(used)
    except (
        collada.common.DaeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RuntimeError,  # of recursion; and pycollada raises again what it does not know, outside of any handler
    ) as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError(
            f"cannot be read as COLLADA ({str(error)[:200]}); restore it, or save it again"
        ) from error
    if not faces:
        raise ShapeError("its scene has no triangles; save a mesh")
    mesh = finite_mesh(np.concatenate(points), np.concatenate(faces))
    scale, axis = _unit_and_axis(root)
    vertices = mesh.vertices if scale is None else mesh.vertices * scale
    vertices = vertices[:, [1, 2, 0]] if axis == "x" else vertices
    return Mesh(vertices, mesh.faces, mesh.notes, "" if scale is None else "mm"), "y" if axis == "y" else "z"


def _positions(primitive: Any, known: dict[int, Floats]) -> Floats:
    """The vertices of a primitive, (n, 3), of which pycollada keeps seven digits."""
    source = primitive.sources["VERTEX"][0][4].xmlnode
    if id(source) not in known:
        text = next(element.text or "" for element in source if _tag(element) == "float_array")
        known[id(source)] = np.array(text.split(), dtype=np.float64).reshape(-1, 3)
    return known[id(source)]


def _triangles(primitive: Any, vertices: Floats) -> Ints:
    """Indices of vertices, (m, 3)."""
    indices = np.ascontiguousarray(primitive.vertex_index, dtype=np.int64)
    if len(indices) and indices.max() >= len(vertices):
        raise ShapeError(f"a face names vertex {indices.max()}, there are {len(vertices)}; restore the file")
    if not hasattr(primitive, "vcounts"):
        return indices.reshape(-1, 3)
    counts = np.asarray(primitive.vcounts, dtype=np.int64)
    if counts.sum() != len(indices):
        raise ShapeError(
            "its polygons have more or fewer corners than it says; the file is damaged: restore it"
        )
    return cut_polygons(indices.ravel(), counts, vertices)


def _checked(data: bytes) -> ElementTree.Element:
    """The XML, with nothing in it that pycollada would pass over in silence."""
    if (encoding := _ENCODING.match(data[:1000])) and encoding[1].lower() not in _PLAIN:
        raise ShapeError(
            f"is XML in the encoding {encoding[1][:40].decode(errors='replace')}; save it as UTF-8"
        )
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ShapeError(
            "has a document type, which may name other files and grow without end; save it without"
        )
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ShapeError(f"is no whole XML ({error}); it is damaged or cut off: restore it") from error
    for parent in root.iter():
        for child in [child for child in parent if _tag(child) in _NOT_NEEDED]:
            parent.remove(child)
    for element in root.iter():
        tag, text = _tag(element), element.text or ""
        if tag == "instance_controller":
            raise ShapeError("has skins or morph targets, which are not read of COLLADA; save it as .glb")
        if tag == "skew":
            raise ShapeError("has skewed nodes, which are not read of COLLADA; save it flattened")
        if tag == "ph":
            raise ShapeError("has polygons with holes, which are not read of COLLADA; save it as triangles")
        if tag in ("p", "vcount") and not _WHOLE.fullmatch(text):
            raise ShapeError("has indices that are no whole numbers; the file is damaged: restore it")
        if tag == "float_array":
            numbers = text.split()
            if str(len(numbers)) != element.get("count", "").strip() or "nan" in text.lower():
                raise ShapeError(
                    f"a list of numbers has {len(numbers):,} of {element.get('count')}, or some are NaN; restore it"
                )
    for element in root.iter():
        if _tag(element) == "source":
            _pack(element)
    _check_instances(root)
    return root


def _pack(source: ElementTree.Element) -> None:
    """Put the numbers of a source together that lie between others, of which pycollada takes no notice."""
    array = next((child for child in source if _tag(child) == "float_array"), None)
    accessor = next((child for child in source.iter() if _tag(child) == "accessor"), None)
    if array is None or accessor is None:
        return
    if accessor.get("source", "").strip() not in ("", f"#{array.get('id')}"):
        raise ShapeError("a list of numbers is used by another source, which is not read; save it again")
    names = [child.get("name") for child in accessor if _tag(child) == "param"]
    width = len(names)
    order = [names.index(axis) for axis in "XYZ"] if set(names) == set("XYZ") else list(range(width))
    numbers = (array.text or "").split()
    try:
        offset, stride, count = (
            int(accessor.get(name, default))
            for name, default in (("offset", 0), ("stride", width), ("count", 0))
        )
        if offset == 0 and stride == width and order == sorted(order):
            return
        if (
            min(offset, count) < 0
            or not 0 < width <= stride
            or offset + (count - 1) * stride + width > len(numbers)
        ):
            raise ValueError
    except ValueError as error:
        raise ShapeError("names more numbers than a list has; the file is damaged: restore it") from error
    packed = [numbers[offset + k * stride + i] for k in range(count) for i in order]
    array.text = " ".join(packed)
    array.set("count", str(len(packed)))


def _check_instances(root: ElementTree.Element) -> None:
    """Nodes that are used in nodes that are used: a short file may show more of them than anything can hold."""
    by_id = {f"#{node.get('id')}": node for node in root.iter() if _tag(node) == "node" and node.get("id")}
    shown: dict[int, int] = {}

    def count(element: ElementTree.Element, depth: int) -> int:
        if depth > 200:
            raise ShapeError("has nodes within nodes more than 200 deep, or in a circle; save it flattened")
        if id(element) not in shown:
            total = 1
            for child in element:
                if _tag(child) == "node":
                    total += count(child, depth + 1)
                elif _tag(child) == "instance_node" and (node := by_id.get(child.get("url", ""))) is not None:
                    total += count(node, depth + 1)
            shown[id(element)] = total
        return shown[id(element)]

    total = sum(count(scene, 0) for scene in root.iter() if _tag(scene) == "visual_scene")
    if total > _MOST_NODES:
        raise ShapeError(f"shows {total:,} nodes, the limit is {_MOST_NODES:,}; simplify it")


def _unit_and_axis(root: ElementTree.Element) -> tuple[float | None, Literal["x", "y", "z"]]:
    """Millimetres in a unit of the file, where it says so, and the axis that points up."""
    asset = list(next((child for child in root if _tag(child) == "asset"), ()))
    unit = next((child for child in asset if _tag(child) == "unit"), None)
    axis = next((child.text or "" for child in asset if _tag(child) == "up_axis"), "")
    if unit is None:
        return None, _UP.get(axis.strip(), "y")
    try:
        metre = float(unit.get("meter", "1"))
    except ValueError as error:
        raise ShapeError(f"its unit {unit.get('meter')!r} is no number; restore the file") from error
    if not 1e-12 < metre < 1e12:
        raise ShapeError(f"its unit is {metre:g} m, which cannot be; restore the file")
    return 1000.0 * metre, _UP.get(axis.strip(), "y")


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


_MM = (0.001, 1.0, 10.0, 25.4, 304.8, 1000.0)  # micrometre, millimetre, centimetre, inch, foot, metre
_SUPPORTS = (2, 3)  # hold the print up, and are no part of the shape
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
        self.meshes: dict[int, tuple[Floats, Ints]] = {}
        self.components: dict[int, list[tuple[int, Floats]]] = {}
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
        placed: list[tuple[Floats, Ints]] = []
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
        if int(thing.GetType()) in _SUPPORTS:
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

    def _place(self, key: int, matrix: Floats, placed: list[Any]) -> None:
        if not self.sizes[key]:
            return
        if key in self.meshes:
            points, faces = self.meshes[key]
            faces = faces[:, ::-1] if mirrors(matrix) else faces
            placed.append((points @ matrix[:3, :3].T + matrix[:3, 3], faces))
        for other, inner in self.components.get(key, ()):
            self._place(other, matrix @ inner, placed)


def _array(rows: list[Any], kind: type) -> NDArray[Any]:
    return np.frombuffer(b"".join(map(bytes, rows)), kind).reshape(-1, 3)


def _matrix(transform: Any) -> Floats:
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
