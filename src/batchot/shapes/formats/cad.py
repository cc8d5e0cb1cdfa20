"""STEP and IGES files, made triangles by OpenCASCADE."""

from __future__ import annotations

import json
import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from batchot.errors import ShapeError, require
from batchot.shapes.formats.gltf import read_gltf
from batchot.shapes.shape import Mesh

_MM = {
    "step": 1000.0,
    "iges": 1.0,
}  # what is written of STEP is in metres, of IGES in millimetres, whatever the files' units
_TERMINATE = re.compile(rb"S\s*(\d+)G\s*(\d+)D\s*(\d+)P\s*(\d+)")
_PART = re.compile(rb"\n/\* part (\d+) \*/\n\Z")
# OpenCASCADE opens the files that these name, wherever they lie. As entities that it does not know they do nothing, and
# the parts that come without geometry are found below.
_EXTERNAL = re.compile(rb"DOCUMENT_FILE", re.IGNORECASE)
_NAMES_FILE = re.compile(rb"DOCUMENT_FILE\s*\(\s*'([^']{1,100})'", re.IGNORECASE)
_lock = threading.Lock()


@dataclass(frozen=True)
class CadSettings:
    """How curved surfaces become triangles."""

    # distance of a triangle from its surface, as a part of the length of the edges around it
    tolerance: float = 0.001
    # most that neighbouring triangles of a surface turn, in radians. With 0.1 and a ``tolerance`` of 0.001 the
    # volume of a cylinder comes 0.04 % too small, that of a sphere 0.14 %
    angle: float = 0.1

    def __post_init__(self) -> None:
        if not 1e-6 <= self.tolerance <= 1 or not 0.005 <= self.angle <= 1.5:
            raise ValueError(
                f"tolerance must lie in 1e-6 .. 1 and angle in 0.005 .. 1.5, got {self.tolerance} and {self.angle}"
            )

    @classmethod
    def of(cls, tolerance: float | None) -> CadSettings:
        """Those of a tolerance, or the default ones."""
        return DEFAULT_CAD if tolerance is None else cls(tolerance)


DEFAULT_CAD = CadSettings()


def read_cad(
    data: bytes,
    kind: Literal["step", "iges"],
    max_bytes: int,
    max_faces: int,
    part: int | None = None,
    settings: CadSettings = DEFAULT_CAD,
) -> Mesh:
    """The surface in the content of a STEP or IGES file, in millimetres, z up as it is in the file."""
    if marked := _PART.search(data):
        data, part = data[: marked.start()], int(marked[1])
    tree, chunk = (_converted if part is None else _converted_last)(data, kind, settings)
    if part is not None:
        parts = _parts(tree)
        if not 0 <= part < len(parts):
            raise ShapeError(f"has {len(parts)} parts, there is no part {part} (counted from 0)")
        others = set(parts) - {parts[part]}
        nodes = [
            {name: value for name, value in node.items() if name != "mesh" or i not in others}
            for i, node in enumerate(tree["nodes"])
        ]
        tree = {**tree, "nodes": nodes}
    mesh = read_gltf(_glb(tree, chunk), None, max_bytes, max_faces)
    assert isinstance(mesh, Mesh)
    return replace(mesh, vertices=mesh.vertices * _MM[kind], unit="mm")


def count_parts(data: bytes, kind: Literal["step", "iges"]) -> int:
    """How many parts an assembly has, each use of one counted; those of an IGES file are one."""
    if kind == "iges" or data.count(b"SHAPE_DEFINITION_REPRESENTATION") < 2:  # one product has one shape
        return 1
    tree, _ = _converted(data, kind, CadSettings(1.0, 1.5))
    return len(_parts(tree))


def part_content(data: bytes, part: int) -> bytes:
    """The content of a file, marked so that one part of it alone is read."""
    return data + b"\n/* part %d */\n" % part


def _converted(data: bytes, kind: Literal["step", "iges"], settings: CadSettings) -> tuple[Any, bytes]:
    """What OpenCASCADE makes of it: the JSON and the numbers of a GLB file."""
    cascadio = require("cascadio", "cad")
    name = kind.upper()
    if kind == "iges":
        _check_sections(data)
    elif not re.search(rb"END-ISO-10303-21\s*;", data[-4096:]):
        raise ShapeError("is a STEP file without its end; it is cut off: restore it")
    others = sorted({found.decode(errors="replace") for found in _NAMES_FILE.findall(data)})
    with _lock, _quiet(), _may_write():
        glb = cascadio.load(
            _EXTERNAL.sub(b"DOCUMENT_NONE", data) if kind == "step" else data,
            file_type=kind,
            tol_linear=settings.tolerance,
            tol_angular=settings.angle,
            tol_relative=True,
            use_parallel=False,
        )
    if len(glb) < 20:
        raise ShapeError(
            f"cannot be read as {name}: OpenCASCADE finds it damaged, cut off, or too large for memory; restore it, "
            "or save it again with the program that made it"
        )
    (size,) = struct.unpack_from("<I", glb, 12)
    tree = json.loads(glb[20 : 20 + size])
    nodes = tree.get("nodes", [])
    empty = [node for node in nodes if "mesh" not in node and not node.get("children")]
    if empty and others:
        raise ShapeError(
            f"has {len(empty)} parts that lie in other files ({', '.join(others[:3])}), which are not opened; save the "
            "assembly as one file"
        )
    if not _parts(tree):
        raise ShapeError(
            f"is a {name} file without surfaces (curves, points or nothing); save solids or surfaces"
        )
    return tree, glb[20 + size + 8 :]


_converted_last = lru_cache(maxsize=1)(_converted)  # parts of one file are read one after the other


def _parts(tree: Any) -> list[int]:
    return [i for i, node in enumerate(tree.get("nodes", [])) if "mesh" in node]


def _glb(tree: Any, chunk: bytes) -> bytes:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, 28 + len(text) + len(chunk), len(text), 0x4E4F534A)
    return head + text + struct.pack("<II", len(chunk), 0x004E4942) + chunk


def _check_sections(data: bytes) -> None:
    """The last line of an IGES file counts those of its sections; OpenCASCADE reads what is there."""
    letters = [line[72:73] for line in data.splitlines() if len(line) > 72]
    last = _TERMINATE.match(next((line for line in reversed(data.splitlines()) if line[72:73] == b"T"), b""))
    there = [letters.count(letter) for letter in (b"S", b"G", b"D", b"P")]
    if last is None or [int(n) for n in last.groups()] != there:
        raise ShapeError("is an IGES file that lacks lines; it is cut off or damaged: restore it")


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCASCADE writes what it does to the terminal, past Python."""
    kept = []
    for stream in (1, 2):
        with suppress(OSError):  # a service may have none
            kept.append((stream, os.dup(stream)))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream, _ in kept:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


@contextmanager
def _may_write() -> Iterator[None]:
    """Its triangles pass through a file in memory, for which a process that may write no files needs leave."""
    limits = None
    with suppress(ImportError):  # a system without limits
        import resource

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    try:
        yield
    finally:
        if limits is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
