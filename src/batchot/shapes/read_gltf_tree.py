"""The JSON of a glTF file: what is asked of a reader, and where each node of the scene stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from batchot.shapes.errors import ShapeError
from batchot.shapes.read_gltf_numbers import entry_of

INSTANCING = "EXT_mesh_gpu_instancing"
_VISIBILITY = "KHR_node_visibility"
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
# Extensions that are done, or that change nothing of the shape: what things look like, do or are called.
_DONE = re.compile(
    rf"(?!.*displac)(?:{INSTANCING}|{_VISIBILITY}|KHR_mesh_quantization|"
    r"[A-Za-z0-9]+_(?:materials?|textures?|images?|lights?|cameras?|animations?|audio|xmp|techniques)(?:_\w+)?|"
    r"KHR_(?:blend|environment_map|interactivity|node_hoverability|node_selectability|physics_rigid_bodies)|"
    r"EXT_(?:feature_metadata|instance_features|mesh_features|mesh_manifold|structural_metadata)|"
    r"MSFT_(?:lod|packing_\w+)|CESIUM_primitive_outline|FB_geometry_metadata|AGI_stk_metadata|"
    r"VRM|VRMC_(?:vrm|springBone\w*|node_constraint))"
)
_MOST_NODES = 1_000_000


@dataclass(frozen=True, eq=False)
class Scene:
    """The nodes that are shown, and where all of them stand."""

    shown: list[int]
    world: NDArray[np.float64]  # (nodes, 4, 4), from each node to the scene


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
    """The scene that is shown first; all root nodes where there is none, and all meshes where there are no nodes.

    Example:
        >>> tree = {"nodes": [{"children": [1], "translation": [0, 0, 5]}, {"mesh": 0, "scale": [2, 2, 2]}]}
        >>> scene = scene_of(tree)
        >>> scene.shown, scene.world[1].tolist()
        ([0, 1], [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
    """
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


def placed(
    translation: NDArray[np.float64], rotation: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
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


def _local_matrices(nodes: list[dict[str, Any]]) -> NDArray[np.float64]:
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


def _table(rows: list[Any], width: int) -> NDArray[np.float64]:
    table = np.array(rows, dtype=np.float64)
    if table.shape != (len(rows), width):
        raise ValueError(f"a transform has not {width} numbers")
    return table


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
def _chained(
    order: NDArray[np.int64], parents: NDArray[np.int64], local: NDArray[np.float64]
) -> NDArray[np.float64]:
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
