from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import trimesh

from batchot.shapes import Mesh, PointCloud, ShapeError
from batchot.shapes.formats.ply import read_ply
from oracles.shape_files import BOX, TRIANGLES, cloud, ply_binary, ply_cloud, ply_header, ply_text


@pytest.mark.parametrize(
    "content", [ply_text(), ply_text().replace(b"\n", b"\r\n"), ply_binary("<"), ply_binary(">")]
)
def test_box_of_triangles_and_quadrilaterals(content: bytes) -> None:
    mesh = read_ply(content)
    assert isinstance(mesh, Mesh)
    assert np.array_equal(mesh.vertices, BOX) and np.array_equal(mesh.faces, TRIANGLES)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_what_trimesh_writes(encoding: str) -> None:
    box = trimesh.Trimesh(BOX, TRIANGLES, process=False)
    mesh = read_ply(box.export(file_type="ply", encoding=encoding, vertex_normal=True))
    assert isinstance(mesh, Mesh)
    assert np.array_equal(mesh.vertices, BOX) and np.array_equal(mesh.faces, TRIANGLES)


def test_points_with_normals() -> None:
    points, normals = cloud()
    shape = read_ply(ply_cloud())
    assert isinstance(shape, PointCloud) and shape.normals is not None
    assert np.array_equal(shape.points, points) and np.allclose(shape.normals, normals, atol=1e-7)


def test_faces_announced_and_none_there_are_points() -> None:
    text = ply_header("ascii", 1, 5).replace(b"face 5", b"face 0") + b"1 2 3\n"
    assert isinstance(read_ply(text), PointCloud)


def test_elements_and_properties_in_any_order() -> None:
    text = (
        b"ply\nformat ascii 1.0\nelement camera 1\nproperty float view\nelement face 1\n"
        b"property list uchar float texcoord\nproperty list uchar uint vertex_index\nproperty int flags\n"
        b"element vertex 3\nproperty uchar red\nproperty double z\nproperty double y\nproperty double x\nend_header\n"
        b"7\n2 .5 .5 3 0 1 2 9\n255 3 2 1\n255 3 2 5\n255 3 6 1\n"
    )
    mesh = read_ply(text)
    assert isinstance(mesh, Mesh)
    assert mesh.vertices.tolist() == [[1, 2, 3], [5, 2, 3], [1, 6, 3]] and mesh.faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("content", [ply_text(), ply_binary("<")])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated(content: bytes, part: float) -> None:
    with pytest.raises(ShapeError, match=r"truncated|damaged"):
        read_ply(content[: int(part * len(content))])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"vertex 8", b"vertex 4000000000", "announces 4,000,000,000 entries of 'vertex'"),
        (b"face 7", b"face 4000000000", "announces 4,000,000,000 entries of 'face'"),
        (b"vertex 8", b"vertex -8", "'element vertex -8' .* not understood"),
        (b"float x", b"float128 x", "'property float128 x' .* not understood"),
        (b"float x", b"float r", "not the numbers x, y and z"),
        (b"uchar int vertex", b"float int vertex", "not understood"),
        (b"int vertex_indices", b"float vertex_indices", "no list of whole numbers"),
        (b"vertex_indices", b"corners", "no list of whole numbers"),
        (b"property float x", b"property list uchar int x", "not the numbers x, y and z"),
        (b"format", b"comment", "no format"),
        (b"end_header", b"end", "no end_header"),
    ],
)
@pytest.mark.parametrize("content", [ply_text(), ply_binary("<")])
def test_lying_header(content: bytes, old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_ply(content.replace(old, new))


def test_indices_out_of_range() -> None:
    with pytest.raises(ShapeError, match=r"face 6 .* names vertex 8"):
        read_ply(ply_text().replace(b"255 4 1 5 7 3", b"255 4 1 5 8 3"))
    with pytest.raises(ShapeError, match=r"face 6 .* names vertex -1"):
        read_ply(ply_binary()[:-4] + b"\xff\xff\xff\xff")


def test_the_same_as_trimesh_for_triangles() -> None:
    generator = np.random.default_rng(0)
    mesh = trimesh.Trimesh(generator.normal(size=(40, 3)), generator.integers(0, 40, (60, 3)), process=False)
    content = mesh.export(file_type="ply")
    ours = read_ply(content)
    theirs = trimesh.load_mesh(io.BytesIO(content), file_type="ply", process=False)
    assert isinstance(ours, Mesh)
    assert np.array_equal(ours.vertices, theirs.vertices) and np.array_equal(ours.faces, theirs.faces)


@pytest.mark.parametrize("order", ["", "<", ">"])
@pytest.mark.parametrize(
    ("kind", "code"), [("int64", "q"), ("uint64", "Q"), ("float16", "e"), ("double", "d")]
)
def test_numbers_of_any_width(order: str, kind: str, code: str) -> None:
    form = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    text = f"ply\nformat {form} 1.0\nelement vertex 3\n" + "".join(f"property {kind} {a}\n" for a in "zxy")
    wide = "int64" if kind in ("float16", "double") else kind
    text += f"element face 1\nproperty list {wide} {wide} vertex_indices\nend_header\n"
    if order:
        wide_code = {"int64": "q", "uint64": "Q"}[wide]
        rows = struct.pack(f"{order}9{code}", *[3, 1, 2, 0, 0, 0, 6, 4, 5])
        content = text.encode() + rows + struct.pack(f"{order}4{wide_code}", 3, 0, 1, 2)
    else:
        content = (text + "3 1 2\n0 0 0\n6 4 5\n3 0 1 2\n").encode()
    mesh = read_ply(content)
    assert isinstance(mesh, Mesh)
    assert mesh.vertices.tolist() == [[1, 2, 3], [0, 0, 0], [4, 5, 6]] and mesh.faces.tolist() == [[0, 1, 2]]
    if order:
        with pytest.raises(
            ShapeError, match="ends before the last"
        ):  # a count beyond what 64 bits hold, times 8
            read_ply(content[:-32] + b"\xff" * 8 + content[-24:])


@pytest.mark.parametrize("content", [ply_text(), ply_binary("<"), ply_binary(">")])
def test_more_than_its_header_announces_is_told(content: bytes) -> None:
    assert not read_ply(content).notes and not read_ply(content + b"\r\n\x00").notes
    (note,) = read_ply(content.replace(b"face 7", b"face 6")).notes
    assert "follow what its header announces" in note
