"""Conditions from public bug reports of programs that read meshes, each with the right value.

Bounds and areas are those before normalisation; "box" is 1 x 2 x 3, area 22.
"""

from __future__ import annotations

import base64
import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchot.shapes import Mesh, PointCloud, ShapeError, load_shape, read_shape
from oracles.shape_files import BOX, POLYGONS, TRIANGLES, glb, lines, stl_binary, stl_text

CORNERS = BOX.astype("<f4").tobytes()
INDICES = TRIANGLES.astype("<u2").tobytes()
F4, U1, I2, U2 = 5126, 5121, 5122, 5123


def area(shape: object) -> float:
    assert isinstance(shape, Mesh)
    a, b, c = (shape.vertices[shape.faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def read(content: bytes | str, ending: str) -> Any:
    content = content.encode() if isinstance(content, str) else content
    return read_shape(content, ending, f"case{ending}", normalize=False)


def is_box(shape: object) -> bool:
    assert isinstance(shape, Mesh)
    return area(shape) == pytest.approx(22) and sorted(np.ptp(shape.vertices, axis=0)) == [1, 2, 3]


# --- Polygons ---------------------------------------------------------------------------------------------------------

CHANNEL = [(0, 0), (6, 0), (6, 5), (5, 5), (5, 1), (1, 1), (1, 5), (0, 5)]  # open above: 14 of 30
STAR = [
    (r * np.cos(k * np.pi / 5), r * np.sin(k * np.pi / 5)) for k, r in enumerate([5.0, 2.0] * 5)
]  # shoelace: 5 * 10 * sin 36 degrees = 29.389


def prism(outline: list[tuple[float, float]], height: float, ending: str) -> str:
    """A prism whose floor and ceiling are one polygon each."""
    n = len(outline)
    points = [(*p, 0.0) for p in outline] + [(*p, height) for p in outline]
    faces = [list(range(n))[::-1], list(range(n, 2 * n))]
    faces += [[k, (k + 1) % n, (k + 1) % n + n, k + n] for k in range(n)]
    rows = [" ".join(str(float(x)) for x in p) for p in points]
    counted = [" ".join(map(str, (len(f), *f))) for f in faces]
    if ending == ".obj":
        text = [f"v {row}" for row in rows] + ["f " + " ".join(str(k + 1) for k in f) for f in faces]
    elif ending == ".off":
        text = ["OFF", f"{len(rows)} {len(faces)} 0", *rows, *counted]
    else:
        text = ["ply", "format ascii 1.0", f"element vertex {len(rows)}"]
        text += [f"property float {axis}" for axis in "xyz"] + [f"element face {len(faces)}"]
        text += ["property list uchar int vertex_indices", "end_header", *rows, *counted]
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("ending", [".obj", ".off", ".ply"])
def test_o01_f09_a_concave_channel_is_open(ending: str) -> None:
    assert area(read(prism(CHANNEL, 4, ending), ending)) == pytest.approx(2 * 14 + 30 * 4)


@pytest.mark.parametrize("ending", [".obj", ".off", ".ply"])
def test_o01b_a_star_keeps_its_notches(ending: str) -> None:
    side = np.hypot(5 - 2 * np.cos(np.pi / 5), 2 * np.sin(np.pi / 5))
    expected = 2 * 50 * np.sin(np.pi / 5) + 10 * side
    assert area(read(prism(STAR, 1, ending), ending)) == pytest.approx(expected, rel=1e-6)


# --- OBJ --------------------------------------------------------------------------------------------------------------

_QUADS = "f 4 3 2 1\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8\n"
_BOX_OBJ = "v 0 0 0\nv 1 0 0\nv 1 2 0\nv 0 2 0\nv 0 0 3\nv 1 0 3\nv 1 2 3\nv 0 2 3\n" + _QUADS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "text",
    [
        _BOX_OBJ.replace("v 1 2 3", "v 1 \\\n2 3"),
        _BOX_OBJ.replace("v 1 2 3", "v 1 \\\n 2\\\n 3"),
        _BOX_OBJ.replace("f 5 6 7 8", "f 5 6 \\ \t\n 7 8"),  # o04c
        "# saved to C:\\parts\\\n" + _BOX_OBJ,  # m02
        "# saved to C:\\parts\\   \n" + _BOX_OBJ,
        "mtllib C:\\\nusemtl red\\\no a\\\ng b \\\n" + _BOX_OBJ,
        _BOX_OBJ.replace("f 5 6 7 8", "f 5 6 7 8 # to C:\\"),
        _BOX_OBJ + "f 1 2 3 \\",
        _BOX_OBJ + "usemtl a\\",
        _BOX_OBJ.replace("v ", "V ").replace("f 5 6 7 8", "F 5 6 \\\n7 8"),
    ],
)
def test_o04c_m02_a_backslash_continues_vertices_and_faces_only(text: str, end: str) -> None:
    if "f 1 2 3 \\" in text:
        text = text.replace("f 1 2 3 \\", "")  # it would be a face of its own
        text = text.rstrip("\n") + " \\"
    assert is_box(read(text.replace("\n", end), ".obj"))


def test_messages_tell_the_line_of_the_file_after_continued_ones() -> None:
    text = _BOX_OBJ.replace("v 1 2 3", "v 1 \\\n2 \\\n3") + "f 1 2 x\n"
    with pytest.raises(ShapeError, match="line 17: 'f 1 2 x'"):
        read(text, ".obj")


# --- STL --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [b"OFF part", b"ply\nformat", b"glTF 2", b"PK\x03\x04", b"<html>", b"v 1 2 3\nf 1 2 3\n"]
)
def test_a_binary_stl_may_begin_as_another_format(header: bytes) -> None:
    assert is_box(read(stl_binary(header), ".stl"))


@pytest.mark.parametrize("header", [b"made by X", b"solid part facet ", b"SOLID facet normal".ljust(80)])
@pytest.mark.parametrize("tail", [b"", b"\0", b"colours of a program".ljust(92, b"\xff")])
def test_s03_m12_bytes_after_the_last_triangle(header: bytes, tail: bytes) -> None:
    assert is_box(read(stl_binary(header) + tail, ".stl"))


@pytest.mark.parametrize("name", ["facet_plate v2", "a facet b", "endsolid vertex outer loop", "", "solid"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_s05_the_name_of_a_solid_may_be_anything(name: str, end: str) -> None:
    text = stl_text().decode().replace("solid box", f"solid {name}").replace("\n", end)
    assert is_box(read(text, ".stl"))
    assert area(read(text + text, ".stl")) == pytest.approx(44)


def test_normals_that_are_no_numbers_do_not_matter() -> None:
    for normal in (b"-nan(ind) nan 1.#QNAN", b"0,6 0,8 0,0", b"0, 0, 1"):
        assert is_box(read(stl_text().replace(b"normal 0 0 0", b"normal " + normal), ".stl"))
    commas = stl_text().replace(b"normal 0 0 0", b"normal 0,6 0,8 0,0").replace(b".0", b",0")
    assert is_box(read(commas, ".stl"))


# --- PLY --------------------------------------------------------------------------------------------------------------


def ply(
    *, order: str = "", header_end: str = "\n", blank: str = "", weights: bool = False, faces: int = 6
) -> bytes:
    """A box; with a list of weights at each vertex."""
    form = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    header = ["ply", f"format {form} 1.0", "comment has end_header in it", "element vertex 8"]
    header += [f"property float {axis}" for axis in "xyz"] + ["property list uchar float weights"] * weights
    header += [f"element face {len(POLYGONS)}", "property list uchar int vertex_indices", "end_header"]
    content = "".join(line + blank + header_end for line in header).encode()
    if not order:
        extra = " 2 0.5 0.5" * weights
        content += "".join(line + extra + "\n" for line in lines(BOX).splitlines()).encode()
        return content + lines([(len(p), *p) for p in POLYGONS]).encode()
    for row in BOX:
        content += struct.pack(f"{order}3f", *row) + (
            struct.pack(f"{order}B2f", 2, 0.5, 0.5) if weights else b""
        )
    return content + b"".join(struct.pack(f"{order}B{len(p)}i", len(p), *p) for p in POLYGONS)


@pytest.mark.parametrize("order", ["", "<", ">"])
@pytest.mark.parametrize("header_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("blank", ["", " ", " \t"])
def test_p09_blanks_at_the_ends_of_the_header(order: str, header_end: str, blank: str) -> None:
    assert is_box(read(ply(order=order, header_end=header_end, blank=blank), ".ply"))


@pytest.mark.parametrize("order", ["", "<", ">"])
def test_p06_lists_at_the_vertices(order: str) -> None:
    assert is_box(read(ply(order=order, weights=True), ".ply"))


@pytest.mark.parametrize("order", ["", "<"])
@pytest.mark.parametrize("named", ["", "property uchar red\n", "property list uchar float weights\n"])
def test_no_faces_of_any_properties_are_points(order: str, named: str) -> None:
    header = f"ply\nformat {'binary_little_endian' if order else 'ascii'} 1.0\nelement vertex 8\n"
    header += "".join(f"property float {axis}\n" for axis in "XYZ") + f"element face 0\n{named}end_header\n"
    cloud = read(header.encode() + (CORNERS if order else lines(BOX).encode()), ".ply")
    assert isinstance(cloud, PointCloud) and np.array_equal(cloud.points, BOX)


def test_content_that_begins_like_a_line_end() -> None:
    header = "ply\rformat binary_little_endian 1.0\relement vertex 2\r" + "".join(
        f"property uchar {axis}\r" for axis in "xyz"
    )
    cloud = read(
        header.encode() + b"end_header\r\n\x01\x02\x03\x04\x05", ".ply"
    )  # x is 10, the code of a line feed
    assert isinstance(cloud, PointCloud) and cloud.points.tolist() == [[10, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("order", ["", "<"])
def test_p05_strips(order: str) -> None:
    strips = [[0, 1, 3, 2, -1, 4, 5, 7, 6, -1], [4, 6, 5]]
    form = "ascii" if not order else "binary_little_endian"
    text = f"ply\nformat {form} 1.0\nelement vertex 8\n" + "".join(f"property float {a}\n" for a in "xyz")
    text += "element tristrips 2\nproperty list int int vertex_indices\nend_header\n"
    content = text.encode()
    if order:
        content += CORNERS + b"".join(struct.pack(f"<{len(s) + 1}i", len(s), *s) for s in strips)
    else:
        content += (lines(BOX) + lines([(len(s), *s) for s in strips])).encode()
    assert area(read(content, ".ply")) == pytest.approx(6 + 6 + 3)  # two sides of 2 x 3, and half of one
    with pytest.raises(ShapeError, match="names vertex 8"):
        read(
            content.replace(b" 4 6 5", b" 4 6 8") if not order else content[:-4] + struct.pack("<i", 8),
            ".ply",
        )


@pytest.mark.flaky(reruns=2)  # holds a clock
def test_a_header_of_very_many_elements_is_refused_at_once() -> None:
    text = "ply\nformat ascii 1.0\nelement vertex 1\n" + "".join(f"property float {a}\n" for a in "xyz")
    text += "".join(f"element e{k} 0\nproperty int a\n" for k in range(200_000)) + "end_header\n0 0 0\n"
    start = time.process_time()
    with pytest.raises(ShapeError, match="more than 1,000 elements and properties"):
        read(text, ".ply")
    assert time.process_time() - start < 3


# --- glTF -------------------------------------------------------------------------------------------------------------


def view_of(
    kind: int, form: str, count: int, content: bytes, **more: object
) -> tuple[dict[str, object], bytes]:
    return {"componentType": kind, "type": form, "count": count, **more}, content


BASE = (view_of(F4, "VEC3", 8, CORNERS), view_of(U2, "SCALAR", 36, INDICES))
PLAIN = {"attributes": {"POSITION": 0}, "indices": 1}


def gltf(
    accessors: tuple[tuple[dict[str, object], bytes], ...] = BASE,
    primitive: dict[str, object] = PLAIN,
    node: dict[str, object] | None = None,
    **more: object,
) -> bytes:
    """A GLB file; every accessor has a view of its own, an empty content is none."""
    buffer, views, entries = b"", [], []
    for entry, content in accessors:
        content += bytes(-len(content) % 4)
        if content:
            views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": len(content)})
            entry = {**entry, "bufferView": len(views) - 1}
        buffer += content
        entries.append(entry)
    tree = {
        "asset": {"version": "2.0"}, "meshes": [{"primitives": [primitive]}], "nodes": [{"mesh": 0, **(node or {})}],
        "accessors": entries, "bufferViews": views, "buffers": [{"byteLength": len(buffer)}], **more,
    }  # fmt: skip
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(buffer), 0x004E4942) + buffer
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def four(*rows: tuple[float, ...]) -> bytes:
    return np.array(rows, dtype="<f4").tobytes()


@pytest.mark.parametrize("required", [True, False])
def test_g10_g10b_instances(required: bool) -> None:
    name = "EXT_mesh_gpu_instancing"
    moves = view_of(F4, "VEC3", 4, four((0, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 10)))
    turns = view_of(F4, "VEC4", 4, four(*[(0, 0, np.sqrt(0.5), np.sqrt(0.5))] * 4))
    sizes = view_of(F4, "VEC3", 4, four((1, 1, 1), (2, 2, 2), (1, 1, 1), (1, 1, 1)))
    node = {"extensions": {name: {"attributes": {"TRANSLATION": 2}}}, "translation": [5, 0, 0]}
    extra = {"extensionsRequired": [name]} if required else {}
    assert area(read(gltf((*BASE, moves), node=node, **extra), ".glb")) == pytest.approx(88)
    node["extensions"][name]["attributes"] |= {"ROTATION": 3, "SCALE": 4, "_ID": 2}  # type: ignore[index]
    shape = read_shape(
        gltf((*BASE, moves, turns, sizes), node=node, **extra), ".glb", "x", normalize=False, up="z"
    )
    assert area(shape) == pytest.approx(3 * 22 + 4 * 22)
    low, high = (
        shape.vertices.min(0),
        shape.vertices.max(0),
    )  # turned by 90 degrees about z: x is -2 to 0 of one
    assert low == pytest.approx([5 - 2, 0, 0], abs=1e-6) and high == pytest.approx([15, 11, 13], abs=1e-6)
    with pytest.raises(ShapeError, match="limit is 30"):
        read_shape(gltf((*BASE, moves, turns, sizes), node=node), ".glb", "x", max_faces=30)


@pytest.mark.parametrize(
    "name",
    ["VENDOR_displaced_geometry", "KHR_gaussian_splatting", "VENDOR_materials_displacement", "", "x" * 1000],
)
def test_g10c_what_a_file_requires_and_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(ShapeError, match="without the extension") as error:
        read(gltf(extensionsRequired=["KHR_texture_transform", name]), ".glb")
    assert len(str(error.value)) < 300
    assert is_box(read(gltf(extensionsUsed=[name]), ".glb"))


@pytest.mark.parametrize(
    "name",
    [
        "KHR_materials_unlit", "KHR_materials_pbrSpecularGlossiness", "KHR_texture_basisu", "EXT_texture_webp",
        "MSFT_texture_dds", "ADOBE_materials_clearcoat_specular", "SOMEBODY_materials_toon", "KHR_lights_punctual",
        "EXT_lights_image_based", "KHR_mesh_quantization", "KHR_xmp_json_ld", "EXT_structural_metadata",
        "KHR_animation_pointer", "MSFT_lod",
    ],
)  # fmt: skip
def test_what_concerns_looks_passes(name: str) -> None:
    assert is_box(read(gltf(extensionsRequired=[name]), ".glb"))


@pytest.mark.parametrize("name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression"])
def test_compressed_numbers_are_refused_whether_required_or_not(name: str) -> None:
    with pytest.raises(ShapeError, match=f"compressed with {name}"):
        read(gltf(extensionsRequired=[name]), ".glb")
    without = (view_of(F4, "VEC3", 8, b""), view_of(U2, "SCALAR", 36, b""))
    with pytest.raises(ShapeError, match="compressed by an extension"):
        read(gltf(without, extensionsUsed=[name]), ".glb")


def test_hidden_nodes_are_left_out() -> None:
    hidden = {"extensions": {"KHR_node_visibility": {"visible": False}}, "children": [2]}
    nodes = [{"mesh": 0}, hidden, {"mesh": 0}]
    assert is_box(read(gltf(nodes=nodes), ".glb"))
    hidden["extensions"]["KHR_node_visibility"]["visible"] = True  # type: ignore[index]
    assert area(read(gltf(nodes=nodes), ".glb")) == pytest.approx(44)


WEIGHTED = {"attributes": {"POSITION": 0, "JOINTS_0": 2, "WEIGHTS_0": 3}, "indices": 1}


def skinned(joints: list[dict[str, object]], weights: bytes, kind: int, *inverse: np.ndarray) -> bytes:
    numbers = view_of(kind, "VEC4", 8, weights, normalized=kind != F4)
    places = view_of(U1, "VEC4", 8, bytes([0, 1, 0, 0]) * 8)
    binds = view_of(F4, "MAT4", 2, b"".join(m.T.astype("<f4").tobytes() for m in inverse))
    skin = {"joints": [1, 2], **({"inverseBindMatrices": 4} if inverse else {})}
    node = {"mesh": 0, "skin": 0, "scale": [1, 1, 5], "rotation": [np.sqrt(0.5), 0, 0, np.sqrt(0.5)]}
    return gltf((*BASE, places, numbers, binds) if inverse else (*BASE, places, numbers), WEIGHTED,
                nodes=[node, *joints], skins=[skin])  # fmt: skip


def test_g15_a_skin_is_where_its_joints_are() -> None:
    first = four(*[(1, 0, 0, 0)] * 8)
    assert is_box(read(skinned([{}, {}], first, F4), ".glb"))
    doubled = [{"scale": [2, 2, 2]}, {}]
    assert area(read(skinned(doubled, first, F4), ".glb")) == pytest.approx(88)
    # With the inverse of what the joints do, the pose is that in which the skin was bound.
    undone = np.diag([0.5, 0.5, 0.5, 1])
    assert is_box(read(skinned(doubled, first, F4, undone, np.eye(4)), ".glb"))
    # Half of one joint and half of the other: scaled by 1.5. Weights need not add up to 1.
    assert area(read(skinned(doubled, bytes([128, 128, 0, 0]) * 8, U1), ".glb")) == pytest.approx(22 * 2.25)
    assert is_box(read(skinned(doubled, bytes(4) * 8, U1), ".glb"))


def test_g09_default_weights_of_morph_targets() -> None:
    further = view_of(F4, "VEC3", 8, (BOX * (1, 0, 0)).astype("<f4").tobytes())  # twice as long in x
    nothing = view_of(F4, "VEC3", 8, b"")  # zeros
    primitive = {**PLAIN, "targets": [{"POSITION": 2}, {"NORMAL": 2}, {"POSITION": 3}]}
    meshes = [{"primitives": [primitive], "weights": [1.0, 1.0, 1.0]}]
    accessors = (*BASE, further, nothing)
    assert area(read(gltf(accessors, meshes=meshes), ".glb")) == pytest.approx(2 * (2 * 2 + 2 * 3 + 2 * 3))
    assert is_box(read(gltf(accessors, meshes=meshes, node={"weights": [0.0, 0.0, 0.0]}), ".glb"))
    assert is_box(read(gltf(accessors, primitive), ".glb"))


def test_g08_normalised_whole_numbers() -> None:
    stored = np.pad(np.round((BOX / (0.5, 1, 1.5) - 1) * 32767).astype("<i2"), ((0, 0), (0, 1)))
    views = [
        {"buffer": 0, "byteLength": 64, "byteStride": 8},
        {"buffer": 0, "byteOffset": 64, "byteLength": 72},
    ]
    position = view_of(I2, "VEC3", 8, stored.tobytes(), normalized=True)
    content = gltf((position, BASE[1]), node={"scale": [0.5, 1, 1.5]}, bufferViews=views)
    assert is_box(read(content, ".glb"))
    plain = view_of(U1, "VEC3", 8, b"".join(bytes([*row.astype(np.uint8), 0]) for row in BOX))
    views = [
        {"buffer": 0, "byteLength": 32, "byteStride": 4},
        {"buffer": 0, "byteOffset": 32, "byteLength": 72},
    ]
    assert is_box(read(gltf((plain, BASE[1]), bufferViews=views), ".glb"))


@pytest.mark.parametrize("based", [True, False])
def test_g05_sparse_accessors(based: bool) -> None:
    rows = np.flatnonzero(BOX[:, 2] > 0) if based else np.arange(8)
    stored = np.where(BOX > 2, 1, BOX) if based else BOX
    sparse = {
        "count": len(rows),
        "indices": {"bufferView": 2, "componentType": U2},
        "values": {"bufferView": 3},
    }
    position = view_of(F4, "VEC3", 8, stored.astype("<f4").tobytes(), sparse=sparse)
    accessors = (position, BASE[1], view_of(U2, "SCALAR", len(rows), rows.astype("<u2").tobytes()),
                 view_of(F4, "VEC3", len(rows), BOX[rows].astype("<f4").tobytes()))  # fmt: skip
    if based:
        assert is_box(read(gltf(accessors), ".glb"))
    else:
        entry = dict(position[0], sparse={**sparse, "indices": {"bufferView": 1, "componentType": U2},
                                          "values": {"bufferView": 2}})  # fmt: skip
        assert is_box(read(gltf(((entry, b""), *accessors[1:])), ".glb"))
    huge = {**position[0], "count": 4_000_000_000, "sparse": sparse}
    with pytest.raises(ShapeError, match=r"sparse accessors hold more|do not fit"):
        read(gltf(((huge, b""), *accessors[1:])), ".glb")


def test_g19_points() -> None:
    points = {"mode": 0, "attributes": {"POSITION": 0}}
    cloud = read_shape(gltf(BASE, points, {"scale": [2, 2, 2]}), ".glb", "x", normalize=False, up="z")
    assert isinstance(cloud, PointCloud) and np.array_equal(cloud.points, 2 * BOX)
    with pytest.raises(ShapeError, match="no triangles and no points"):
        read(gltf(BASE, {"mode": 1, "attributes": {"POSITION": 0}}), ".glb")


@pytest.mark.parametrize(("mode", "order"), [(5, [0, 1, 2, 3]), (6, [0, 1, 3, 2]), (5, [0, 1, 2, 2, 2, 3])])
@pytest.mark.parametrize("indexed", [True, False])
def test_g13c_fans_and_strips(mode: int, order: list[int], indexed: bool) -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])
    if mode == 5 and len(order) > 4:  # triangles without an area join two strips
        order = [0, 1, 2, 2, 1, 1, 2, 3]
    corners = view_of(F4, "VEC3", 4, square.astype("<f4").tobytes())
    primitive: dict[str, object] = {"mode": mode, "attributes": {"POSITION": 0}}
    if indexed:
        accessors = (corners, view_of(U1, "SCALAR", len(order), bytes(order)))
        primitive["indices"] = 1
    else:
        accessors = (view_of(F4, "VEC3", len(order), square[order].astype("<f4").tobytes()),)  # type: ignore[assignment]
    assert area(read(gltf(accessors, primitive), ".glb")) == pytest.approx(1)


def with_buffer(uri: str) -> bytes:
    tree = {
        "asset": {"version": "2.0"}, "meshes": [{"primitives": [PLAIN]}],
        "accessors": [{"bufferView": k, **BASE[k][0]} for k in range(2)],
        "bufferViews": [{"buffer": 0, "byteLength": 96}, {"buffer": 0, "byteOffset": 96, "byteLength": 72}],
        "buffers": [{"byteLength": 168, "uri": uri}],
    }  # fmt: skip
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("my%20parts/box%20data.bin", "my parts/box data.bin"),
        ("raw name.bin", "raw name.bin"),
        ("./a%C3%A4.bin", "aä.bin"),
        ("100%.bin", "100%.bin"),
        ("50%20off.bin", "50%20off.bin"),  # a name that was not quoted
    ],
)
def test_g11_numbers_in_other_files(uri: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(CORNERS + INDICES)
    (tmp_path / "box.gltf").write_bytes(with_buffer(uri))
    assert is_box(load_shape(tmp_path / "box.gltf", normalize=False))
    (tmp_path / name).write_bytes(CORNERS)
    with pytest.raises(ShapeError, match="buffer 0 has 96 of 168 bytes; the file is truncated"):
        load_shape(tmp_path / "box.gltf")
    (tmp_path / name).unlink()
    with pytest.raises(ShapeError, match="which is missing; put it beside"):
        load_shape(tmp_path / "box.gltf")


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/gltf-buffer", ""])
def test_g12_numbers_in_the_file_itself(kind: str) -> None:
    from batchot.shapes.formats.gltf import read_gltf

    packed = base64.b64encode(CORNERS + INDICES).decode()
    for uri in (f"data:{kind};base64,{packed}", f"DATA:{kind};base64,{packed.replace('=', '%3D')}"):
        assert is_box(read(with_buffer(uri), ".gltf"))
        # g12b: with a byte-order mark
        assert is_box(read_gltf(b"\xef\xbb\xbf" + with_buffer(uri), None, 1000, 100))
    plain = "".join(f"%{byte:02x}" for byte in CORNERS + INDICES)
    assert is_box(read(with_buffer(f"data:{kind},{plain}"), ".gltf"))


def test_nodes_take_linear_time() -> None:
    def took(n: int, chain: bool) -> float:
        still = {"translation": [0, 0, 1]}
        if chain:
            nodes = [{"children": [k + 1], **still} for k in range(n - 1)] + [{"mesh": 0}]
        else:
            nodes = [{"mesh": 0, **still} for k in range(n)]
        content = gltf(nodes=nodes)
        times = []
        for _ in range(3):  # the shortest: a collection of garbage goes over all objects of a test process
            start = time.process_time()
            shape = read(content, ".glb")
            times.append(time.process_time() - start)
        assert area(shape) == pytest.approx(22 if chain else 22 * n)
        return min(times)

    took(10, True)
    for chain in (True, False):
        assert took(16_000, chain) < 5
        assert took(16_000, chain) < 40 * max(took(2_000, chain), 0.01)


# --- Names of refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "ending", "truncated"),
    [
        (_BOX_OBJ.replace("f 5 6 7 8", "f 5 6 7 9"), ".obj", False),
        (_BOX_OBJ[:-9] + "f 4 1 5", ".obj", None),  # nothing shows it
        (_BOX_OBJ.replace("v 1 2 3\n", "v 1 2\n"), ".obj", False),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n", ".off", True),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n3 0 1 2\n", ".off", False),
        ("OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n3 0 1 2\n", ".off", False),
        ("OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n3 0 1", ".off", True),
        (stl_text()[:-30], ".stl", True),
        (stl_binary()[:-1], ".stl", True),
        (ply()[:-12], ".ply", True),
        (ply().replace(b"3 0 1 3\n", b"3 0 1\n"), ".ply", False),
        (glb()[:-1], ".glb", True),
        (glb()[:12] + b"\xff\xff\0\0" + glb()[16:], ".glb", False),
        (b'{"asset": {"version": "2.0"}, "meshes" [', ".gltf", False),
    ],
)  # fmt: skip
def test_truncated_is_said_only_of_what_is(content: bytes | str, ending: str, truncated: bool | None) -> None:
    if truncated is None:
        read(content, ending)
        return
    with pytest.raises(ShapeError) as error:
        read(content, ending)
    assert ("truncated" in str(error.value)) == truncated, str(error.value)
