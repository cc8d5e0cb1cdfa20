"""Worker process that reads files from strangers.

It imports no torch, opens no file but those it is told to, has little memory and time, and what it answers is data:
arrays, pictures and numbers, never objects.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import struct
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numba.core.caching import Cache

from batchot.errors import ShapeWarning
from batchot.search.prepare import (
    FrameError,
    Prepared,
    make_preview,
    make_thumbnail,
    prepare_bytes,
    prepare_source,
    read_frame,
    write_frame,
)
from batchot.search.query_kind import shown_name
from batchot.search.records import QueryRefused, plain
from batchot.shapes.measure import area_and_volume
from batchot.shapes.shape import Mesh
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.settings import ViewSettings
from batchot.towers.spec import Inputs
from batchot.workers.process import end_after, end_me_first, own_stdout

MAIN = "from batchot.search.sandbox_worker import main; main()"
_GRACE_SECONDS = 5
_FILES = 64
_IN_MEMORY = 256 << 20  # bytes of a file in memory
# of what was prepared
_TOLD = ("what", "content", "kind", "faces", "vertices", "size", "notes", "note", "area", "volume", "unit")
_PLY = (
    b"ply\nformat %b 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 2\nproperty list uchar int vertex_indices\nend_header\n"
)
# With a GLB file, all loops of the readers: polygons in text, a solid in text, and lists in text and binary.
_SAMPLES = (
    b"v 0 0 0\nv 2 0 0\nv 1 0.5 0\nv 2 2 0\nv 0 2 0\nv 0 0 1\nf 1 2 3 4 5\nf 1 2 4 5\nf 1 2 6\n",
    b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    b"endsolid a\n",
    _PLY % b"ascii" + b"0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n4 0 1 2 3\n",
    _PLY % b"binary_little_endian"
    + struct.pack("<12fB3iB4i", 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 3, 0, 1, 2, 4, 0, 1, 2, 3),
)


def main() -> None:
    """Serve until the input ends."""
    replies = own_stdout()
    warnings.simplefilter("ignore", ShapeWarning)  # they go with the answers
    stream = sys.stdin.buffer
    setup, _ = read_frame(stream, 0)
    inputs = Inputs.from_json(setup["inputs"])
    _warm_up(inputs)
    _limit(setup)
    write_frame(replies, {"status": "ready"})
    while True:
        try:
            task, blobs = read_frame(stream, int(setup["max_bytes"]))
        except FrameError:
            return
        end_after(float(setup["time_limit"]) + _GRACE_SECONDS)
        answer, parts = _answer(task, blobs, inputs, setup)
        end_after(None)
        del blobs
        try:
            write_frame(replies, answer, parts)
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(0)
        if answer["status"] == "memory":
            os._exit(0)  # what is left of the memory is in pieces: a fresh process has all of it


def _answer(
    task: dict[str, Any], blobs: list[bytes], inputs: Inputs, setup: dict[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    try:
        prepared = _prepare(task, blobs, inputs, setup)
    except QueryRefused as error:
        return {"status": error.reason, "message": plain(str(error))}, []
    except MemoryError:
        return {"status": "memory", "message": f"{_name(task)} needs more memory than a file may have"}, []
    except OSError as error:
        return {"status": "damaged", "message": f"{_name(task)}: {error.strerror or error}"}, []
    except Exception as error:  # whatever a damaged file makes a reader do
        memory = isinstance(error.__cause__, MemoryError)
        text = plain(str(error)) or type(error).__name__
        text = text if _name(task) in text else f"{_name(task)}: {text}"
        return {"status": "memory" if memory else "damaged", "message": text[:2000]}, []
    sample = np.ascontiguousarray(prepared.sample)
    answer = {name: getattr(prepared, name) for name in _TOLD}
    answer |= {"status": "prepared", "dtype": str(sample.dtype), "shape": sample.shape}
    return answer, [sample.tobytes(), prepared.thumbnail, prepared.preview]


def _prepare(task: dict[str, Any], blobs: list[bytes], inputs: Inputs, setup: dict[str, Any]) -> Prepared:
    if "path" in task:
        source = ShapeSource(
            task["name"], Path(task["path"]), task["member"], up=task["up"], tolerance=task["tolerance"]
        )
        return prepare_source(source, inputs, thumbnail=task["thumbnail"], preview=task["preview"])
    return prepare_bytes(
        blobs[0],
        task["name"],
        inputs,
        task["what"],
        up=task["up"],
        tolerance=task["tolerance"],
        thumbnail=task["thumbnail"],
        preview=task["preview"],
        max_faces=int(setup["max_faces"]),
    )


def _name(task: dict[str, Any]) -> str:
    return str(task["path"]) if "path" in task else shown_name(task["name"])


def _warm_up(inputs: Inputs) -> None:
    # Compiles and imports what is needed, before limits and clocks: afterwards nothing that is compiled can be kept.
    corners = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]])
    triangle = b"OFF\n3 1 0\n" + b"".join(b"%f %f %f\n" % tuple(row) for row in corners) + b"3 0 1 2\n"
    prepare_bytes(triangle, "triangle.off", inputs)
    with contextlib.suppress(QueryRefused):  # they may be too few
        prepare_bytes(b"".join(b"%d %d %d\n" % (i, i % 7, i % 5) for i in range(64)), "points.xyz", inputs)
    mesh = Mesh(corners, np.array([[0, 1, 2]]))
    make_thumbnail(mesh)
    for number, content in enumerate((make_preview(mesh), *_SAMPLES)):
        prepare_bytes(content, f"sample {number}", inputs)
    # four faces that do not agree on what is outside: all loops run
    apex = np.vstack([corners, [[0.0, 0.5, -0.5]]])
    area_and_volume(Mesh(apex, np.array([[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]])))
    if inputs.drawing is not None or inputs.photo is not None:
        from PIL import Image

        Image.init()
    ViewSettings()  # the cameras
    sys.modules.setdefault("trimesh", None)  # type: ignore[arg-type]  # cascadio does without; a second and a half
    for library in ("cascadio", "collada", "lib3mf"):
        with contextlib.suppress(ImportError):  # the extra is missing, as whoever sends such a file is told
            importlib.import_module(library)


def _limit(setup: dict[str, Any]) -> None:
    end_me_first()
    limits = [(resource.RLIMIT_CORE, 0)]
    if not setup["files"]:  # then nothing has to be written, and little opened
        limits.append((resource.RLIMIT_NOFILE, _FILES))
    if (in_use := _address_space()) is not None:
        limits.append((resource.RLIMIT_AS, in_use + int(setup["memory_limit"])))
    for kind, value in limits:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError):  # a system without it
            continue
    if not setup["files"]:
        with contextlib.suppress(OSError, ValueError):
            # the reader of STEP raises it for itself, as its triangles pass through a file in memory
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, _IN_MEMORY))
        Cache.save_overload = _keep_nothing
        os.chdir("/")
        os.nice(5)  # whoever serves goes first


def _keep_nothing(cache: Cache, signature: object, data: object) -> None:
    """A loop that is compiled after all is compiled for this process alone: to write no file is no fault of a shape."""


def _address_space() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
