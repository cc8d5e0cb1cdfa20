"""The JSON of a glTF file: only what its surface needs, checked before a library acts on it."""

from __future__ import annotations

from typing import Any

from batchot.shapes.errors import ShapeError

_NODE_KEYS = ("mesh", "matrix", "translation", "rotation", "scale")
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


def check_tree(tree: Any, max_faces: int) -> dict[str, Any]:
    """The parts of a glTF tree that make up the surface of its scene.

    What is left out (materials, images, animations, normals, cameras, extensions) costs time and can fail, but cannot
    be seen in a view of the shape.

    Args:
        tree: the parsed JSON.
        max_faces: more triangles than that are refused, each use of a mesh counted.

    Returns:
        A new tree, with one scene.

    Raises:
        ShapeError: not glTF 2, compressed, without triangles, or with references that lead nowhere or in a circle.

    Example:
        >>> from batchot.shapes.read_gltf_tree import check_tree
        >>> tree = {"asset": {"version": "2.0"}, "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        ...         "accessors": [{"count": 3, "bufferView": 0, "componentType": 5126, "type": "VEC3"}],
        ...         "bufferViews": [{"buffer": 0, "byteLength": 36}], "buffers": [{"byteLength": 36}]}
        >>> check_tree(tree, max_faces=10)["nodes"]
        [{'mesh': 0}]
    """
    if not isinstance(tree, dict) or not isinstance(tree.get("asset"), dict):
        raise ShapeError("has no glTF in its JSON; it is another kind of file or damaged")
    if not str(tree["asset"].get("version", "2.0")).startswith("2"):
        raise ShapeError(f"is glTF {tree['asset']['version']}, only version 2 is read; save it as glTF 2.0")
    required = [name for name in _COMPRESSED if name in tree.get("extensionsRequired", [])]
    if required:
        raise ShapeError(f"its numbers are compressed with {required[0]}, which is not read; save it without")
    try:
        accessors = [dict(accessor) for accessor in tree.get("accessors", [])]
        meshes = [_mesh(mesh, accessors) for mesh in tree.get("meshes", [])]
        nodes = [_node(node) for node in tree.get("nodes", [])] or [{"mesh": i} for i in range(len(meshes))]
        roots = _roots(tree, nodes)
        faces = sum(_faces(meshes[i], accessors) for i in _used_meshes(nodes, roots))
        buffers = [dict(buffer) for buffer in tree.get("buffers", [])]
        if not all(isinstance(buffer.get("uri", ""), str) for buffer in buffers):
            raise TypeError("the uri of a buffer is no text")
        views = [dict(view) for view in tree.get("bufferViews", [])]
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError(
            f"its JSON is no glTF ({type(error).__name__}: {error}); the file is damaged: restore it"
        ) from error
    if faces == 0:
        raise ShapeError("its scene has no triangles; save a mesh, or points as .ply, .pcd or .npy")
    if faces > max_faces:
        raise ShapeError(
            f"its scene has {faces:,} faces, the limit is {max_faces:,}; simplify it or raise max_faces"
        )
    return {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": roots}], "nodes": nodes, "meshes": meshes,
        "accessors": accessors, "bufferViews": views, "buffers": buffers,
    }  # fmt: skip


def _mesh(mesh: dict[str, Any], accessors: list[dict[str, Any]]) -> dict[str, Any]:
    primitives = []
    for primitive in mesh["primitives"]:
        mode = primitive.get("mode", _TRIANGLES)
        if mode == _FAN:
            raise ShapeError("has triangle fans, which are not read; save it with plain triangles")
        if mode not in (_TRIANGLES, _STRIP):
            continue  # points and lines have no surface
        kept = {
            "mode": mode,
            "attributes": {"POSITION": _accessor(accessors, primitive["attributes"]["POSITION"])},
        }
        position = accessors[kept["attributes"]["POSITION"]]
        if position.get("normalized"):
            raise ShapeError("its coordinates are quantised to whole numbers; save it without compression")
        if "indices" in primitive:
            kept["indices"] = _accessor(accessors, primitive["indices"])
        primitives.append(kept)
    return {"primitives": primitives}


def _accessor(accessors: list[dict[str, Any]], index: Any) -> int:
    entry = accessors[_index(index, accessors)]
    # Without a view the numbers are zeros, and a count of billions would take all memory.
    if "bufferView" not in entry or "sparse" in entry:
        raise ShapeError("some of its numbers are sparse or compressed, which is not read; save it without")
    if type(entry.get("count")) is not int or entry["count"] < 1:
        raise ShapeError("an accessor has no count; the file is damaged: restore it")
    return int(index)


def _index(value: Any, entries: list[Any]) -> int:
    if type(value) is not int or not 0 <= value < len(entries):
        raise IndexError(f"{value!r} is not one of 0 to {len(entries) - 1}")
    return value


def _node(node: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: node[key] for key in _NODE_KEYS if key in node}
    if node.get("children"):
        kept["children"] = list(node["children"])
    return kept


def _roots(tree: dict[str, Any], nodes: list[dict[str, Any]]) -> list[int]:
    """The nodes at which the scene begins; an error unless all below them is a forest."""
    parents = [0] * len(nodes)
    for node in nodes:
        for child in node.get("children", []):
            parents[_index(child, nodes)] += 1
    if tree.get("scenes"):
        scene = tree["scenes"][_index(tree.get("scene", 0), tree["scenes"])]
        roots = [_index(root, nodes) for root in scene.get("nodes", [])]
    else:
        roots = [i for i, count in enumerate(parents) if count == 0]
    # A circle that can be reached from a root has a node with two parents, or leads back to the root.
    if max(parents, default=0) > 1 or any(parents[root] for root in roots) or len(set(roots)) < len(roots):
        raise ShapeError("a node of its scene has several parents; the file is damaged: restore it")
    return roots


def _used_meshes(nodes: list[dict[str, Any]], roots: list[int]) -> list[int]:
    used = []
    open_nodes = list(roots)
    while open_nodes:
        node = nodes[open_nodes.pop()]
        open_nodes += node.get("children", [])
        if "mesh" in node:
            used.append(node["mesh"])
    return used


def _faces(mesh: dict[str, Any], accessors: list[dict[str, Any]]) -> int:
    total = 0
    for primitive in mesh["primitives"]:
        corners = accessors[primitive.get("indices", primitive["attributes"]["POSITION"])]["count"]
        total += corners // 3 if primitive["mode"] == _TRIANGLES else max(corners - 2, 0)
    return total
