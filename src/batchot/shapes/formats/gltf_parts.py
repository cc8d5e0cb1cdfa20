"""Accessors and node trees of glTF files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.shape import Floats, Ints

_KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Accessors:
    """Accessors of a tree as arrays; whatever is wrong with one is an error of Python's, or a ``ShapeError``."""

    def __init__(self, tree: dict[str, Any], buffer: Callable[[int], bytes], most: int) -> None:
        self._accessors, self._views = tree.get("accessors", []), tree.get("bufferViews", [])
        self._buffer, self._left = buffer, most
        self._known: dict[int, NDArray[Any]] = {}

    def count(self, index: Any) -> int:
        """How many entries an accessor has."""
        entry = entry_of(self._accessors, index)
        if type(entry.get("count")) is not int or entry["count"] < 1:
            raise ShapeError("an accessor has no count; the file is damaged: restore it")
        return int(entry["count"])

    def has_numbers(self, index: Any) -> bool:
        """Whether it has any; else they are all zero, or an extension has them."""
        entry = entry_of(self._accessors, index)
        return "bufferView" in entry or "sparse" in entry

    def raw(self, index: Any, kind: str) -> NDArray[Any]:
        """Its numbers as they are stored, (count, width) of the type ``kind``."""
        if index in self._known:
            found = self._known[index]
        else:
            found = self._known[index] = self._read(index)
        if found.shape[1] != _WIDTHS[kind]:
            raise TypeError(f"accessor {index} is no {kind}")
        return found

    def floats(self, index: Any, kind: str, rows: Any = slice(None)) -> Floats:
        """Rows of its numbers; whole numbers that are normalised become -1 to 1, or 0 to 1."""
        raw = self.raw(index, kind)
        numbers = raw[rows].astype(np.float64)
        if self._accessors[index].get("normalized") and raw.dtype.kind in "iu":
            numbers = np.maximum(numbers / np.iinfo(raw.dtype).max, -1.0)
        return numbers

    def whole(self, index: Any, kind: str) -> NDArray[Any]:
        """Its numbers, which must be whole and none below 0."""
        raw = self.raw(index, kind)
        if raw.dtype.kind != "u":
            raise TypeError(f"accessor {index} has no whole numbers")
        return raw

    def _read(self, index: int) -> NDArray[Any]:
        entry, count = entry_of(self._accessors, index), self.count(index)
        width, kind = _WIDTHS[entry["type"]], np.dtype(_KINDS[entry["componentType"]])
        if "bufferView" in entry:
            numbers = self._strided(entry["bufferView"], entry.get("byteOffset", 0), count, width, kind)
            if "sparse" not in entry:
                return numbers
        self._left -= count
        if self._left < 0:
            raise ShapeError("its sparse accessors hold more entries than a shape may have; save it without")
        numbers = numbers.copy() if "bufferView" in entry else np.zeros((count, width), kind)
        if "sparse" in entry:
            self._replace(numbers, entry["sparse"])
        return numbers

    def _replace(self, numbers: NDArray[Any], sparse: dict[str, Any]) -> None:
        places, values, count = sparse["indices"], sparse["values"], _whole(sparse["count"])
        kind = np.dtype(_KINDS[places["componentType"]])
        if kind.kind != "u":
            raise TypeError("places of a sparse accessor are no whole numbers")
        rows = self._strided(places["bufferView"], places.get("byteOffset", 0), count, 1, kind)[:, 0]
        width = numbers.shape[1]
        numbers[rows] = self._strided(
            values["bufferView"], values.get("byteOffset", 0), count, width, numbers.dtype
        )

    def _strided(
        self, view_index: Any, offset: Any, count: int, width: int, kind: np.dtype[Any]
    ) -> NDArray[Any]:
        """So many rows of so many numbers in a view, without a copy."""
        view = entry_of(self._views, view_index)
        buffer = self._buffer(view["buffer"])
        size = width * kind.itemsize
        stride = _whole(view.get("byteStride", 0)) or size
        begin, length, offset = _whole(view.get("byteOffset", 0)), _whole(view["byteLength"]), _whole(offset)
        if stride < size or offset + (count - 1) * stride + size > length or begin + length > len(buffer):
            raise ShapeError(
                f"{count:,} entries of {size} bytes do not fit into view {view_index}, or that not into its buffer; "
                "the file is damaged: restore it"
            )
        return np.ndarray((count, width), kind, buffer, begin + offset, (stride, kind.itemsize))


def entry_of(entries: Any, index: Any) -> dict[str, Any]:
    """The entry that an index of the JSON names."""
    if type(index) is not int or not 0 <= index < len(entries):
        raise IndexError(f"{index!r} is not one of 0 to {len(entries) - 1}")
    entry = entries[index]
    if not isinstance(entry, dict):
        raise TypeError(f"entry {index} is no object")
    return entry


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no count of bytes")
    return value


INSTANCING = "EXT_mesh_gpu_instancing"
_VISIBILITY = "KHR_node_visibility"
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
# Extensions that are done, or that change nothing of the shape: what things look like, do or are called.
_DONE = re.compile(
    rf"(?!.*displac)(?:{INSTANCING}|{_VISIBILITY}|KHR_mesh_quantization|"
    r"[A-Za-z0-9]+_(?:materials?|textures?|images?|lights?|cameras?|animations?|audio|xmp|techniques)(?:_\w+)?|"
    r"KHR_(?:blend|environment_map|interactivity|node_hoverability|node_selectability|physics_rigid_bodies)|"
    r"EXT_(?:feature_metadata|instance_features|mesh_features|mesh_manifold|structural_metadata)|"
    r"MSFT_(?:lod|packing_\w+)|CESIUM_primitive_outline|FB_(?:geometry_metadata|ngon_encoding)|AGI_stk_metadata|"
    r"VRM|VRMC_(?:vrm|springBone\w*|node_constraint))"
)
_MOST_NODES = 1_000_000


@dataclass(frozen=True, eq=False)
class Scene:
    """The nodes that are shown, and where all of them stand."""

    shown: list[int]
    world: Floats  # (nodes, 4, 4), from each node to the scene


def check_asset(tree: Any) -> None:
    """Raise a ``ShapeError`` unless the JSON is glTF 2, and asks for nothing that would change the shape."""
    if not isinstance(tree, dict) or not isinstance(tree.get("asset"), dict):
        raise ShapeError("has no glTF in its JSON; it is another kind of file or damaged")
    if not str(tree["asset"].get("version", "2.0")).startswith("2"):
        raise ShapeError(f"is glTF {tree['asset']['version']}, only version 2 is read; save it as glTF 2.0")
    for name in tree.get("extensionsRequired", []):
        if name in _COMPRESSED:
            raise ShapeError(f"its numbers are compressed with {name}, which is not read; save it without")
        if not _DONE.fullmatch(str(name)):
            raise ShapeError(
                f"cannot be understood without the extension {str(name)[:60]!r}, which is not read; save it without"
            )


def scene_of(tree: dict[str, Any]) -> Scene:
    """The scene that is shown first; all root nodes where there is none, and all meshes where there are no nodes."""
    nodes = tree["nodes"]
    if len(nodes) > _MOST_NODES:
        raise ShapeError(f"has {len(nodes):,} nodes, the limit is {_MOST_NODES:,}; simplify it")
    parents = np.full(len(nodes), -1)
    for i, node in enumerate(nodes):
        for child in node.get("children") or ():
            entry_of(nodes, child)
            if parents[child] >= 0:
                raise ShapeError("a node of its scene has several parents; the file is damaged: restore it")
            parents[child] = i
    tops = [int(i) for i in np.flatnonzero(parents < 0)]
    roots = tops
    if tree.get("scenes"):
        roots = list(entry_of(tree["scenes"], tree.get("scene", 0)).get("nodes", []))
        for root in roots:
            entry_of(nodes, root)
    # A circle that can be reached from a root has a node with two parents, or leads back to the root.
    if any(parents[root] >= 0 for root in roots) or len(set(roots)) < len(roots):
        raise ShapeError("a node of its scene has several parents; the file is damaged: restore it")
    order = np.array(_below(nodes, tops, hidden=True), dtype=np.int64)
    world = _chained(order, parents, _local_matrices(nodes))
    return Scene(_below(nodes, roots, hidden=False), world)


def placed(translation: Floats, rotation: Floats, scale: Floats) -> Floats:
    """Matrices that scale, turn by a quaternion (x, y, z, w) and move, (n, 4, 4)."""
    length = np.linalg.norm(rotation, axis=1, keepdims=True)
    x, y, z, w = np.where(length > 0, rotation / np.where(length > 0, length, 1), [0, 0, 0, 1]).T
    turned = np.empty((len(rotation), 3, 3))
    turned[:, 0] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1)
    turned[:, 1] = np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1)
    turned[:, 2] = np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1)
    matrices = np.zeros((len(rotation), 4, 4))
    matrices[:, :3, :3] = turned * scale[:, None]
    matrices[:, :3, 3] = translation
    matrices[:, 3, 3] = 1
    return matrices


def _local_matrices(nodes: list[dict[str, Any]]) -> Floats:
    still, unturned, unscaled = [0.0] * 3, [0.0, 0.0, 0.0, 1.0], [1.0] * 3
    matrices = placed(
        _table([node.get("translation", still) for node in nodes], 3),
        _table([node.get("rotation", unturned) for node in nodes], 4),
        _table([node.get("scale", unscaled) for node in nodes], 3),
    )
    given = [i for i, node in enumerate(nodes) if "matrix" in node]
    if given:
        columns = _table([nodes[i]["matrix"] for i in given], 16)
        matrices[given] = columns.reshape(-1, 4, 4).transpose(0, 2, 1)
    return matrices


def _table(rows: list[Any], width: int) -> Floats:
    table = np.array(rows, dtype=np.float64)
    if rows and table.shape != (len(rows), width):
        raise ValueError(f"a transform has not {width} numbers")
    return table.reshape(-1, width)


def _below(nodes: list[dict[str, Any]], roots: list[int], hidden: bool) -> list[int]:
    """The nodes from some roots on, parents before children; with those that are hidden, or without."""
    found = []
    left = roots[::-1]
    while left:
        i = left.pop()
        node = nodes[i]
        if not hidden and (node.get("extensions") or {}).get(_VISIBILITY, {}).get("visible", True) is False:
            continue
        found.append(i)
        left += reversed(node.get("children") or ())
    return found


@njit(cache=True)
def _chained(order: Ints, parents: Ints, local: Floats) -> Floats:
    """The product of the matrices of each node and all above it."""
    world = local.copy()
    for i in order:
        p = parents[i]
        if p >= 0:
            for row in range(4):
                for column in range(4):
                    total = 0.0
                    for k in range(4):
                        total += world[p, row, k] * local[i, k, column]
                    world[i, row, column] = total
    return world
