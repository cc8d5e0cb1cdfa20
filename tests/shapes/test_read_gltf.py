from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchot.shapes import Mesh, ShapeError, load_shape, read_shape
from batchot.shapes.formats.gltf import read_gltf
from batchot.shapes.measure import area_and_volume
from oracles.shape_files import BOX, TRIANGLES, glb, gltf_buffer, gltf_tree, gltf_vertices

MIB = 1 << 20


def corners(mesh: object) -> np.ndarray:
    """The corners of all triangles, in an order that does not depend on that of the scene's parts."""
    assert isinstance(mesh, Mesh)
    flat = mesh.vertices[mesh.faces].reshape(-1, 9)
    return flat[np.lexsort(flat.T)]


def expected(vertices: np.ndarray) -> np.ndarray:
    return corners(Mesh(vertices, np.concatenate([TRIANGLES, TRIANGLES + 8])))


def write(folder: Path, uri: str | None, tree: dict[str, Any] | None = None) -> Path:
    path = folder / "scene.gltf"
    path.write_text(json.dumps(tree or gltf_tree(uri)))
    return path


def test_transforms_of_the_nodes() -> None:
    assert np.allclose(corners(read_gltf(glb(), None, MIB, 100)), expected(gltf_vertices()))


def test_y_is_up_unless_told_otherwise() -> None:
    x, y, z = gltf_vertices().T
    turned = expected(np.stack([x, -z, y], axis=1))
    assert np.allclose(corners(read_shape(glb(), ".glb", "box", normalize=False)), turned)
    assert np.allclose(corners(read_shape(glb(), ".glb", "box", normalize=False, up="y")), turned)
    untouched = read_shape(glb(), ".glb", "box", normalize=False, up="z")
    assert np.allclose(corners(untouched), expected(gltf_vertices()))


def test_numbers_beside_the_file_and_inside_it(tmp_path: Path) -> None:
    (tmp_path / "two words.bin").write_bytes(gltf_buffer())
    beside = load_shape(write(tmp_path, "two%20words.bin"))
    inside = "data:application/octet-stream;base64," + base64.b64encode(gltf_buffer()).decode()
    assert np.array_equal(corners(beside), corners(load_shape(write(tmp_path, inside))))
    assert np.array_equal(corners(beside), corners(read_shape(glb(), ".glb", "box")))


@pytest.mark.parametrize(
    "uri", ["../secret.bin", "{outside}/secret.bin", "file://{outside}/secret.bin", "link.bin"]
)
def test_no_file_outside_its_folder_is_read(tmp_path: Path, uri: str) -> None:
    (tmp_path / "secret.bin").write_bytes(gltf_buffer())
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ShapeError, match="not in its folder"):
        load_shape(write(folder, uri.format(outside=tmp_path)))


def test_named_file_missing_too_large_or_without_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path, "numbers.bin")
    with pytest.raises(ShapeError, match=r"'numbers.bin', which is missing"):
        load_shape(path)
    with pytest.raises(ShapeError, match="an archive or stream does not give"):
        read_shape(path.read_bytes(), ".gltf", "stream")
    (tmp_path / "numbers.bin").write_bytes(bytes(5000))
    with pytest.raises(ShapeError, match="larger than the limit"):
        load_shape(path, max_bytes=3000)


def changed(path: str, value: object) -> dict[str, Any]:
    """The tree with one entry replaced: ``accessors.0.count``; removed where the value is ``...``."""
    tree: Any = gltf_tree(None)
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    entry = tree
    for key in keys:
        entry = entry[key]
    if value is ...:
        del entry[last]
    else:
        entry[last] = value
    return tree


def test_without_a_scene_all_that_is_there() -> None:
    assert np.allclose(
        corners(read_gltf(glb(changed("scenes", [])), None, MIB, 100)), expected(gltf_vertices())
    )
    tree = changed("scenes", ...)
    del tree["nodes"]
    mesh = read_gltf(glb(tree), None, MIB, 100)
    assert np.array_equal(corners(mesh), corners(Mesh(BOX, TRIANGLES)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("accessors.0.count", 4_000_000_000, "damaged"),
        ("accessors.1.count", 4_000_000_000, "limit is 100"),
        ("accessors.1.count", 39, "damaged"),
        ("accessors.0.count", -1, "no count"),
        ("accessors.0.bufferView", ..., "compressed by an extension"),
        ("accessors.0.type", "VEC2", r"\(n, 3\)|damaged"),
        ("accessors.0.componentType", 1, "damaged"),
        ("bufferViews.0.byteOffset", 10_000, "damaged"),
        ("bufferViews.0.buffer", 7, "damaged"),
        ("meshes.0.primitives.0.attributes.POSITION", 7, "damaged"),
        ("meshes.0.primitives.0.attributes", [], "damaged"),
        ("meshes.0.primitives.0.mode", 1, "no triangles"),
        ("nodes.1.mesh", 3, "damaged"),
        ("nodes.1.matrix", [1, 2], "damaged"),
        ("nodes.1.scale", [0, 0, 0], None),
        ("nodes.1.children", [0], "several parents"),
        ("nodes.1.children", [2], "several parents"),
        ("nodes.1.children", [9], "damaged"),
        ("scenes.0.nodes", [0, 0], "several parents"),
        ("scenes.0.nodes", [], "no triangles"),
        ("scene", 4, "damaged"),
        ("asset.version", "1.0", "only version 2"),
        ("extensionsRequired", ["KHR_draco_mesh_compression"], "compressed with KHR_draco"),
        ("buffers.0.uri", 5, "damaged"),
        ("asset", ..., "no glTF"),
    ],
)
def test_damaged_tree(path: str, value: object, message: str | None) -> None:
    content = glb(changed(path, value))
    if message is None:
        assert len(read_gltf(content, None, MIB, 100).faces) == 24  # legal, if odd
        return
    with pytest.raises(ShapeError, match=message):
        read_gltf(content, None, MIB, 100)


def test_one_mesh_used_a_million_times_is_counted_before_it_is_built() -> None:
    tree = gltf_tree(None)
    tree["nodes"] = [{"mesh": 0}] * 100_000
    tree["scenes"] = [{"nodes": list(range(100_000))}]
    with pytest.raises(ShapeError, match="has 1,200,000 faces, the limit is 1,000,000"):
        read_gltf(glb(tree), None, MIB, 1_000_000)


@pytest.mark.parametrize("length", [4, 12, 19, 40, 500, -1, -100])
def test_truncated(length: int) -> None:
    with pytest.raises(ShapeError, match="truncated"):
        read_gltf(glb()[:length], None, MIB, 100)


def test_json_that_is_deeper_than_the_stack() -> None:
    with pytest.raises(ShapeError, match="JSON"):
        read_gltf(b'{"asset":' + b"[" * 200_000, None, MIB, 100)


@pytest.mark.parametrize("more", ["", ', "scene": 7', ', "scenes": [{"nodes": []}]', ', "nodes": []'])
def test_a_file_without_nodes_has_no_shape(tmp_path: Path, more: str) -> None:
    (tmp_path / "none.gltf").write_text('{"asset": {"version": "2.0"}' + more + "}")
    with pytest.raises(ShapeError, match="its scene has no triangles and no points; save a mesh"):
        load_shape(tmp_path / "none.gltf")


MIRRORS: list[list[dict[str, Any]]] = [
    [{"mesh": 0}, {"mesh": 0, "scale": [-1, 1, 1], "translation": [-5, 0, 0]}],
    [{"mesh": 0}, {"mesh": 0, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 9, 0, 0, 1]}],
    [
        {"children": [1, 2], "scale": [-1, 1, 1]},
        {"mesh": 0, "scale": [1, -1, 1]},
        {"mesh": 0, "translation": [9, 0, 0]},
    ],
]


@pytest.mark.parametrize("nodes", MIRRORS)
def test_a_mirrored_part_keeps_its_outside(nodes: list[dict[str, Any]]) -> None:
    tree = {
        **gltf_tree(None),
        "nodes": nodes,
        "scenes": [{"nodes": [0] if "children" in nodes[0] else [0, 1]}],
    }
    mesh = read_shape(glb(tree), ".glb", "x", normalize=False)
    assert isinstance(mesh, Mesh)
    assert area_and_volume(mesh) == pytest.approx((44, 12))  # and not 6 - 6


def test_the_keys_of_its_json_may_come_in_any_order() -> None:
    tree = gltf_tree("data:;base64," + base64.b64encode(gltf_buffer()).decode())
    accessors = [*tree.pop("accessors"), *[{"name": "x" * 100}] * 1000]  # type: ignore[misc]
    content = json.dumps({"accessors": accessors, **tree}).encode()
    assert content.index(b'"asset"') > 1 << 16
    for called in (".gltf", ""):
        mesh = read_shape(content, called, "x", normalize=False, up="z")
        assert np.array_equal(corners(mesh), expected(gltf_vertices()))


def test_indices_that_an_extension_has_are_refused() -> None:
    tree = gltf_tree(None)
    del tree["accessors"][1]["bufferView"]  # type: ignore[index]
    with pytest.raises(ShapeError, match="compressed by an extension"):
        read_gltf(glb(tree), None, MIB, MIB)


def test_a_primitive_without_positions_is_not_shown() -> None:
    tree = gltf_tree(None)
    tree["meshes"][0]["primitives"].append({"attributes": {}})  # type: ignore[index]
    assert np.array_equal(corners(read_gltf(glb(tree), None, MIB, MIB)), expected(gltf_vertices()))


def test_zeros_after_the_json_of_a_glb() -> None:
    content = glb()
    size = int.from_bytes(content[12:16], "little")
    text = content[20 : 20 + size] + bytes(8)
    padded = content[:8] + (len(content) + 8).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    padded += content[16:20] + text + content[20 + size :]
    assert np.array_equal(corners(read_gltf(padded, None, MIB, MIB)), expected(gltf_vertices()))
