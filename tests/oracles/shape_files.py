"""Small shapes, and files of every format that hold them, written without the code under test."""

from __future__ import annotations

import io
import json
import struct

import h5py
import numpy as np
from numpy.typing import NDArray

# A box whose sides differ, so that no axis can be taken for another; two triangles and five quadrilaterals.
BOX = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 2.0) for z in (0.0, 3.0)])  # (8, 3)
POLYGONS = ((0, 1, 3), (0, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
TRIANGLES = np.array([(p[0], p[i], p[i + 1]) for p in POLYGONS for i in range(1, len(p) - 1)])  # (12, 3)


def cloud(n: int = 50) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points and unit normals, (n, 3) each."""
    generator = np.random.default_rng(5)
    normals = generator.normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return generator.normal(size=(n, 3)).astype(np.float32), normals.astype(np.float32)


def lines(rows: object) -> str:
    return "".join(" ".join(f"{value!r}" for value in np.asarray(row).tolist()) + "\n" for row in rows)  # type: ignore[attr-defined]


def off() -> bytes:
    return f"OFF\n8 {len(POLYGONS)} 0\n{lines(BOX)}{lines([(len(p), *p) for p in POLYGONS])}".encode()


def obj() -> bytes:
    corners = "".join("f " + " ".join(f"{i + 1}/{i + 1}/1" for i in p) + "\n" for p in POLYGONS)
    vertices = "".join("v " + line + "\n" for line in lines(BOX).splitlines())
    return f"# box\nmtllib nowhere.mtl\no box\n{vertices}vn 0 0 1\nvt 0 0\nusemtl red\n{corners}".encode()


def stl_text() -> bytes:
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join("vertex " + line + "\n" for line in lines(BOX[triangle]).splitlines())
        + "endloop\nendfacet\n"
        for triangle in TRIANGLES
    )
    return f"solid box\n{facets}endsolid box\n".encode()


def stl_binary(header: bytes = b"solid lies") -> bytes:
    facets = b"".join(bytes(12) + BOX[t].astype("<f4").tobytes() + bytes(2) for t in TRIANGLES)
    return header.ljust(80) + struct.pack("<I", len(TRIANGLES)) + facets


def ply_header(form: str, vertices: int, faces: int, normals: bool = False) -> bytes:
    names = ["x", "y", "z", *(["nx", "ny", "nz"] if normals else [])]
    text = f"ply\nformat {form} 1.0\ncomment made for a test\nelement vertex {vertices}\n"
    text += "".join(f"property float {name}\n" for name in names)
    if faces:
        text += f"element face {faces}\nproperty uchar red\nproperty list uchar int vertex_indices\n"
    return (text + "end_header\n").encode()


def ply_text() -> bytes:
    return ply_header("ascii", 8, 7) + (lines(BOX) + lines([(255, len(p), *p) for p in POLYGONS])).encode()


def ply_binary(order: str = "<") -> bytes:
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    faces = b"".join(struct.pack(f"{order}BB{len(p)}i", 255, len(p), *p) for p in POLYGONS)
    return ply_header(form, 8, 7) + BOX.astype(order + "f4").tobytes() + faces


def ply_cloud(n: int = 50) -> bytes:
    return (
        ply_header("binary_little_endian", n, 0, normals=True) + np.hstack(cloud(n)).astype("<f4").tobytes()
    )


def gltf_tree(uri: str | None) -> dict[str, object]:
    """A box in two nodes: a parent that is moved, and a child that is doubled; twice, the second time moved."""
    buffer: dict[str, object] = {"byteLength": 96 + TRIANGLES.size * 2}
    if uri is not None:
        buffer["uri"] = uri
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"translation": [0, 0, 10], "children": [1, 2]},
            {"mesh": 0, "scale": [2, 2, 2]},
            {"mesh": 0, "translation": [100, 0, 0]},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"uri": "/etc/passwd"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": int(TRIANGLES.size), "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 96},
            {"buffer": 0, "byteOffset": 96, "byteLength": int(TRIANGLES.size) * 2},
        ],
        "buffers": [buffer],
    }


def gltf_buffer() -> bytes:
    return BOX.astype("<f4").tobytes() + TRIANGLES.astype("<u2").tobytes()


def gltf_vertices() -> NDArray[np.float64]:
    """Where the vertices of both boxes are, as the file has them: y up."""
    return np.concatenate([2 * BOX + np.array([0, 0, 10]), BOX + np.array([100, 0, 10])])  # (16, 3)


def glb(tree: dict[str, object] | None = None) -> bytes:
    text = json.dumps(tree or gltf_tree(None)).encode()
    text += b" " * (-len(text) % 4)
    buffer = gltf_buffer()
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(buffer), 0x004E4942) + buffer
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=array.dtype.hasobject)
    return file.getvalue()


def lzf(content: bytes) -> bytes:
    """The content packed by the LZF filter of HDF5."""
    values = np.frombuffer(content, dtype=np.uint8)
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("packed", data=values, chunks=values.shape, compression="lzf")
        mask, packed = dataset.id.read_direct_chunk((0,))
    assert mask == 0, "the filter left the content as it was"
    return packed


def pcd(encoding: str, n: int = 50) -> bytes:
    points, normals = cloud(n)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        "FIELDS x y z rgb normal_x normal_y normal_z\nSIZE 4 4 4 4 4 4 4\nTYPE F F F U F F F\n"
        f"COUNT 1 1 1 1 1 1 1\nWIDTH {n}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA {encoding}\n"
    ).encode()
    columns = [*points.T, np.full(n, 7, np.uint32), *normals.T]
    if encoding == "ascii":
        return header + lines(zip(*[column.tolist() for column in columns], strict=True)).encode()
    if encoding == "binary":
        return header + b"".join(column[i].tobytes() for i in range(n) for column in columns)
    plain = b"".join(column.tobytes() for column in columns)
    packed = lzf(plain)
    return header + struct.pack("<II", len(packed), len(plain)) + packed


def hdf5(clouds: int = 3, n: int = 64) -> bytes:
    file = io.BytesIO()
    points = np.random.default_rng(1).normal(size=(clouds, n, 3)).astype(np.float32)
    with h5py.File(file, "w") as opened:
        opened.create_dataset("data", data=points, compression="gzip")
        opened["label"] = np.arange(clouds, dtype=np.uint8)[:, None]
    return file.getvalue()


def text_cloud() -> bytes:
    return lines(np.hstack(cloud()).astype(float)).encode()


MESHES = {
    ".off": off(), ".obj": obj(), ".stl": stl_binary(), ".ply": ply_binary(), ".glb": glb(),
    ".text.stl": stl_text(), ".text.ply": ply_text(), ".big.ply": ply_binary(">"),
}  # fmt: skip
CLOUDS = {
    ".npy": npy(np.hstack(cloud())), ".ply": ply_cloud(), ".xyz": text_cloud(),
    ".ascii.pcd": pcd("ascii"), ".binary.pcd": pcd("binary"), ".packed.pcd": pcd("binary_compressed"),
}  # fmt: skip
