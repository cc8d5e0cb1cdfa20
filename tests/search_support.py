"""What the tests of the search share: small folders, a run of a second, records, hostile files."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from batchot import render_views
from batchot.cli import main
from batchot.search.records import ShapeRecord, record_id
from batchot.shapes.library import generate_shape
from batchot.shapes.normalize import normalize_shape
from shape_folders import write_off

TINY_RUN = [
    "epochs=1",
    "precision=32",
    "batch.size=6",
    "batch.classes_per_batch=2",
    "model.widths=[16,8]",
    "model.backbone=resnet10-w4-s4",
    "sketch.data.image_size=32",
    "shape.shapes.size=32",
    "shape.shapes.cameras=box-6",
    "evaluation.recalibrate=1",
]
CLASSES = ("bottle", "stairs", "airplane")


def draw_sketch(path: Path, class_name: str, seed: int, *, size: int = 48) -> Path:
    """Draw one of the built-in shapes from the side."""
    drawing = render_views(generate_shape(class_name, seed), "box-6", size=size, channels=("lines",))[0, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawing).save(path)
    return path


def photograph(path: Path, class_name: str, seed: int) -> Path:
    """Save a picture of one of the built-in shapes as a camera has it: in colour, lit, before a plain wall."""
    shape = normalize_shape(generate_shape(class_name, seed), "z")
    shaded = render_views(shape, "circle-12", size=160, channels=("shaded",))[1, 0]
    red, wall = np.array([200, 90, 60]), np.array([225, 230, 235])
    pixels = np.where(shaded[:, :, None] < 255, red * shaded[:, :, None] / 255 + 20, wall)
    noise = np.random.default_rng(seed).normal(0, 3, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(np.clip(pixels + noise, 0, 255))).save(path, "jpeg", quality=90)
    return path


def make_sketch_run(root: Path, *, shapes: int = 5) -> tuple[Path, Path]:
    """Train towers for drawings and shapes in a second; gives the run and the folder of shapes."""
    for class_name in CLASSES[:2]:
        for k in range(6):
            part = "train" if k < 4 else "test"
            draw_sketch(root / "data" / "sketches" / class_name / part / f"{k}.png", class_name, 100 + k)
    for class_name in CLASSES:
        for k in range(shapes):
            write_off(root / "data" / "shapes" / class_name / f"{k}.off", class_name, k)
    run = root / "run"
    command = [
        "train",
        "sketch-folder-scratch",
        "--data-root",
        str(root / "data"),
        "--out",
        str(run),
        "--device=cpu",
    ]
    assert main([*command, *TINY_RUN]) == 0
    return run, root / "data" / "shapes"


def make_record(name: str, vector: np.ndarray, class_name: str = "cup", **changes: object) -> ShapeRecord:
    """A record that has all it needs."""
    picture = io.BytesIO()
    Image.new("L", (4, 4)).save(picture, "png")
    values = {
        "id": record_id(name),
        "name": name,
        "folder": name.rpartition("/")[0],
        "class_name": class_name,
        "path": f"/shapes/{name}",
        "member": None,
        "content": "0" * 64,
        "kind": "mesh",
        "faces": 3,
        "vertices": 4,
        "size": (1.0, 2.0, 3.0),
        "vector": np.asarray(vector, np.float32),
        "thumbnail": picture.getvalue(),
        "preview": struct.pack("<4sII", b"glTF", 2, 12),
    }
    return ShapeRecord(**{**values, **changes})  # type: ignore[arg-type]


def unit_vectors(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    """Random unit vectors, float32."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def off_bytes(class_name: str = "bottle", seed: int = 0) -> bytes:
    """One of the built-in shapes as an OFF file."""
    mesh = generate_shape(class_name, seed)
    lines = ["OFF", f"{len(mesh.vertices)} {len(mesh.faces)} 0"]
    lines += [" ".join(f"{x:.5f}" for x in vertex) for vertex in mesh.vertices]
    lines += ["3 " + " ".join(map(str, face)) for face in mesh.faces]
    return "\n".join(lines).encode()


def png_header(width: int, height: int) -> bytes:
    """A PNG file that says it is so large, with the pixels of none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def zip_bomb() -> bytes:
    """A small zip archive of 200 MB of zeros."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.off", b"\0" * (200 << 20))
    return file.getvalue()


def made_to_harm() -> dict[str, bytes]:
    """Files that were thought out, by name."""
    gltf = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "../../../../etc/passwd", "byteLength": 99}],
        "bufferViews": [{"buffer": 0, "byteLength": 99}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 4_000_000_000, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    }
    numpy = b"\x93NUMPY\x01\x00v\x00"
    many = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 3), }"
    objects = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    return {
        "bomb.zip": zip_bomb(),
        "bomb.off": zip_bomb(),  # by another name
        "chair.off": b"OFF\n4000000000 4000000000 0\n0 0 0\n",
        "many.ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\n"
        b"property float y\nproperty float z\nend_header\n" + b"\0" * 64,
        "many.stl": b"\0" * 80 + struct.pack("<I", 4_000_000_000) + b"\0" * 50,
        "many.npy": numpy + many.ljust(117) + b"\n",
        "pickle.npy": numpy + objects.ljust(117) + b"\n\x80\x04.",
        "model.pkl": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "passwd.gltf": json.dumps(gltf).encode(),
        "deep.gltf": b'{"asset":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "huge.png": png_header(60_000, 60_000),
        "huger.png": png_header(2**31 - 1, 2**31 - 1),
        "../../../../etc/passwd": b"root:x:0:0:root:/root:/bin/bash\n",
        "x" * 10_000 + ".off": b"OFF\nnot numbers\n",
        "nul\0.off": b"OFF\n\0\0\0",
        "page.html": b"<html><script>alert(1)</script></html>",
        "entities.xml": b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>',
        "program.off": b"\x7fELF" + b"\0" * 100,
        "packed.obj": b"\x1f\x8b\x08" + b"\0" * 100,
        "empty.off": b"",
        "blank.png": _png(Image.new("L", (40, 40), 255)),
        "faces.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 99999999\n",
        "nan.off": b"OFF\n3 1 0\nnan nan nan\n1 0 0\n0 1 0\n3 0 1 2\n",
        "point.off": b"OFF\n3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2\n",
        "infinite.xyz": b"1e999 0 0\n0 0 0\n",
        "far.obj": b"v 1e308 1e308 1e308\nv -1e308 -1e308 -1e308\nv 0 0 0\nf 1 2 3\n",
    }


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def fuzzed(n: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Random files, and sound ones that were cut, mixed or changed; no two alike."""
    rng = random.Random(seed)
    sketch = io.BytesIO()
    Image.fromarray(
        render_views(generate_shape("bottle", 1), "box-6", size=48, channels=("lines",))[0, 0]
    ).save(sketch, "png")
    cloud = io.BytesIO()
    np.save(cloud, np.random.default_rng(seed).normal(size=(100, 3)).astype(np.float32))
    stl = (
        b"\0" * 80
        + struct.pack("<I", 2)
        + np.random.default_rng(1).normal(size=(2, 12)).astype("<f4").tobytes()[:96]
        + b"\0" * 4
    )
    sound = {
        "a.off": off_bytes(),
        "a.png": sketch.getvalue(),
        "a.npy": cloud.getvalue(),
        "a.stl": stl,
        "a.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "a.ply": b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
        "a.xyz": b"0 0 0\n1 1 1\n2 0 1\n",
    }
    endings = [
        ".off",
        ".obj",
        ".ply",
        ".stl",
        ".npy",
        ".glb",
        ".gltf",
        ".png",
        ".jpg",
        ".pcd",
        ".xyz",
        ".h5",
        "",
    ]
    for k in range(n):
        ending = rng.choice(endings)
        kind = k % 4
        if kind == 0:
            yield f"{k}{ending}", rng.randbytes(rng.randrange(1, 4000))
            continue
        name = rng.choice(list(sound))
        data = bytearray(sound[name])
        if kind == 1:  # cut
            data = data[: rng.randrange(1, max(2, len(data) - 1))]
        elif kind == 2:  # changed
            for _ in range(rng.randrange(1, 40)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        else:  # a large number in the place of another, which headers believe
            at = rng.randrange(max(1, min(len(data), 200)))
            data[at : at + 1] = rng.choice(
                [b"4000000000", b"-1", b"1e308", b"nan", b"\xff\xff\xff\x7f", b"'\"<>"]
            )
        yield f"{k}{ending if rng.random() < 0.3 else Path(name).suffix}", bytes(data)
