"""COLLADA files (DAE), read by pycollada once their XML is known to be harmless and complete."""

from __future__ import annotations

import io
import re
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError, require
from batchot.shapes.formats.polygons import cut_polygons
from batchot.shapes.shape import Mesh, Up, finite_mesh

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
            for bound in scene.objects("geometry"):
                for primitive in bound.original.primitives:
                    if primitive.vertex is None:
                        continue
                    corners = _triangles(primitive)
                    total += len(corners)
                    if total > max_faces:
                        raise ShapeError(
                            f"has {total:,} faces or more, the limit is {max_faces:,}; simplify it or raise max_faces"
                        )
                    used, renumbered = np.unique(corners, return_inverse=True)
                    matrix = np.asarray(bound.matrix, dtype=np.float64)
                    points.append(
                        primitive.vertex[used].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
                    )
                    faces.append(renumbered.reshape(-1, 3) + offset)
                    offset += len(used)
    except (
        collada.common.DaeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
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


def _triangles(primitive: Any) -> NDArray[np.int64]:
    """Indices of vertices, (m, 3)."""
    indices = np.ascontiguousarray(primitive.vertex_index, dtype=np.int64)
    if len(indices) and indices.max() >= len(primitive.vertex):
        raise ShapeError(
            f"a face names vertex {indices.max()}, there are {len(primitive.vertex)}; restore the file"
        )
    if not hasattr(primitive, "vcounts"):
        return indices.reshape(-1, 3)
    counts = np.asarray(primitive.vcounts, dtype=np.int64)
    if counts.sum() != len(indices):
        raise ShapeError(
            "its polygons have more or fewer corners than it says; the file is damaged: restore it"
        )
    return cut_polygons(indices.ravel(), counts, primitive.vertex)


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
    _check_instances(root)
    return root


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
    asset = next((child for child in root if _tag(child) == "asset"), None)
    unit = next((child for child in (asset if asset is not None else ()) if _tag(child) == "unit"), None)
    axis = next(
        (child.text or "" for child in (asset if asset is not None else ()) if _tag(child) == "up_axis"), ""
    )
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
