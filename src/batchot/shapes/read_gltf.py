"""Meshes in the glTF 2.0 format (GLB and JSON), read by trimesh after what it need not see is taken out."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from batchot.shapes.errors import ShapeError
from batchot.shapes.extra import require
from batchot.shapes.read_gltf_tree import check_tree
from batchot.shapes.shape import Mesh, finite_mesh

_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942


def read_gltf(data: bytes, folder: Path | None, max_bytes: int, max_faces: int) -> Mesh:
    """All meshes of the scene in the content of a GLB or glTF file as one, with the transforms of their nodes.

    The axes are those of the file: y is up. Materials and images are not looked at. A glTF file may name files with
    its numbers; they are read if they lie in its folder or below.

    Args:
        data: the content of the file.
        folder: where it lies; ``None`` where it has no folder, and then it can name no other file.
        max_bytes: of all files that it names together.
        max_faces: of the scene, each use of a mesh counted.

    Returns:
        The mesh.

    Raises:
        ShapeError: truncated, damaged, compressed, naming a file outside its folder, or with too many faces.

    Source:
        Khronos Group, glTF 2.0 Specification.

    Example:
        >>> import base64
        >>> corners = base64.b64encode(np.eye(3, dtype="<f4").tobytes()).decode()
        >>> tree = {"asset": {"version": "2.0"}, "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        ...         "accessors": [{"count": 3, "bufferView": 0, "componentType": 5126, "type": "VEC3"}],
        ...         "bufferViews": [{"buffer": 0, "byteLength": 36}],
        ...         "buffers": [{"byteLength": 36, "uri": "data:;base64," + corners}]}
        >>> read_gltf(json.dumps(tree).encode(), None, max_bytes=1000, max_faces=10).faces.tolist()
        [[0, 1, 2]]
    """
    trimesh = require("trimesh")
    tree, chunk = _parse_glb(data) if data.startswith(b"glTF") else (_parse_json(data), b"")
    tree = check_tree(tree, max_faces)
    named = _named_files(tree, folder, max_bytes)
    text = json.dumps(tree).encode()
    try:
        if data.startswith(b"glTF"):
            content, kind = _build_glb(text, chunk), "glb"
        else:
            content, kind = text, "gltf"
        scene = trimesh.load_scene(io.BytesIO(content), file_type=kind, resolver=named, process=False)
        mesh = scene.to_mesh()
        vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    except Exception as error:  # whatever a damaged file leads to
        raise ShapeError(
            f"cannot be read as glTF ({type(error).__name__}: {error}); the file is damaged: restore it"
        ) from error
    return finite_mesh(vertices, faces)


def _parse_glb(data: bytes) -> tuple[Any, bytes]:
    """The JSON and the first binary chunk of a GLB file."""
    if len(data) < 20:
        raise ShapeError(f"is {len(data)} bytes long, too short for a GLB file; it is truncated: restore it")
    _, version, length, size, kind = struct.unpack_from("<5I", data)
    if version != 2:
        raise ShapeError(f"is glTF {version}, only version 2 is read; save it as glTF 2.0")
    if length > len(data) or kind != _JSON or 20 + size > length:
        raise ShapeError(
            f"announces {length:,} bytes, {size:,} of them JSON, and has {len(data):,}; the file is truncated or "
            "damaged: restore it"
        )
    chunk = b""
    position = 20 + size
    while position + 8 <= length:
        more, kind = struct.unpack_from("<2I", data, position)
        if position + 8 + more > length:
            raise ShapeError("its binary part ends early; the file is truncated or damaged: restore it")
        if kind == _BIN and not chunk:
            chunk = data[position + 8 : position + 8 + more]
        position += 8 + more
    return _parse_json(data[20 : 20 + size]), chunk


def _parse_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ShapeError(
            f"its JSON is damaged ({error}); the file is truncated or damaged: restore it"
        ) from error


def _build_glb(text: bytes, chunk: bytes) -> bytes:
    text += b" " * (-len(text) % 4)
    chunk += bytes(-len(chunk) % 4)
    parts = [struct.pack("<2I", len(text), _JSON), text]
    if chunk:
        parts += [struct.pack("<2I", len(chunk), _BIN), chunk]
    return struct.pack("<3I", _MAGIC, 2, 12 + sum(map(len, parts))) + b"".join(parts)


def _named_files(tree: dict[str, Any], folder: Path | None, max_bytes: int) -> dict[str, bytes]:
    """The content of the files that buffers name."""
    named: dict[str, bytes] = {}
    left = max_bytes
    for buffer in tree["buffers"]:
        uri = buffer.get("uri")
        if uri is None or uri in named or uri.startswith("data:"):
            continue
        named[uri] = _read_named(uri, folder, left)
        left -= len(named[uri])
    return named


def _read_named(uri: str, folder: Path | None, max_bytes: int) -> bytes:
    shown = uri[:100]
    if folder is None:
        raise ShapeError(
            f"names another file ({shown!r}), which an archive or stream does not give; save it as .glb"
        )
    try:
        path = (folder / unquote(uri)).resolve()
        inside = path.is_relative_to(folder.resolve())
        if "://" in uri or not inside:
            raise ShapeError(
                f"names {shown!r}, which is not in its folder; put it beside the file, or save as .glb"
            )
        if not path.is_file():
            raise ShapeError(f"names {shown!r}, which is missing; put it beside the file, or save as .glb")
        if path.stat().st_size > max_bytes:
            raise ShapeError(
                f"names {shown!r}, which is larger than the limit; raise max_bytes if memory allows"
            )
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, ShapeError):
            raise
        raise ShapeError(f"names {shown!r}, which cannot be read ({error}); save it as .glb") from error
