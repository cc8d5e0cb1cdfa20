"""From the bytes of a file to what a network takes, and what is worth knowing of the shape."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from batchot.data.cloud_reading import cloud_of
from batchot.data.errors import DataError
from batchot.data.sketch_decode import read_sketch
from batchot.search.errors import QueryRefused
from batchot.search.inputs import Inputs, ViewsInput
from batchot.search.picture_kind import is_line_drawing
from batchot.search.preview import make_preview, make_thumbnail
from batchot.search.query_kind import ending_of, query_kind, shown_name
from batchot.shapes.errors import ShapeError
from batchot.shapes.normalize import normalize_shape
from batchot.shapes.read import MAX_FACES, load_shape, read_shape
from batchot.shapes.shape import Mesh, Shape, Up
from batchot.shapes.source import ShapeSource
from batchot.shapes.view_settings import render_shape

What = Literal["any", "shape", "drawing"]
_NO_DRAWING = (
    "this looks like a photo or a shaded picture, and the network knows line drawings: the answer may mean nothing. "
    "Give dark strokes on light paper, or the shape itself"
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A query or a shape, ready for the network.

    Args:
        what: as what it was taken
        sample: views uint8 (v, c, h, w), points float32 (p, 3), or a drawing uint8 (1, h, w)
        content: SHA-256 of the file, hexadecimal
        kind: "mesh" or "cloud"; None for drawings
        faces: triangles
        vertices: corners, or points
        size: extents along x, y and z, z up, in the units of the file
        thumbnail: WebP picture; empty where none was asked for
        preview: GLB file; empty where none was asked for
        notes: what a user should know of the shape, such as what was left out
        note: what makes the answer doubtful; empty where nothing does
    """

    what: Literal["shape", "drawing"]
    sample: NDArray
    content: str
    kind: Literal["mesh", "cloud"] | None = None
    faces: int = 0
    vertices: int = 0
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    thumbnail: bytes = b""
    preview: bytes = b""
    notes: tuple[str, ...] = ()
    note: str = ""


def prepare_bytes(
    data: bytes,
    name: str,
    inputs: Inputs,
    what: What = "any",
    *,
    up: Up = "auto",
    thumbnail: bool = False,
    preview: bool = False,
    max_faces: int = MAX_FACES,
) -> Prepared:
    """Make a query ready.

    Args:
        data: content of a file
        name: of it, for messages and where the content leaves the format open
        inputs: what the network takes
        what: as what it is taken; "any" is what the content says
        up: the axis of the file that points up; "auto" is that of the network's files, else what the format says
        thumbnail: draw one
        preview: make one
        max_faces: a shape of more triangles or points is refused

    Raises:
        QueryRefused: it cannot be taken; the message says why

    >>> inputs = Inputs.from_json({"shape": {"points": 8}, "drawing": None})
    >>> prepare_bytes(b"OFF\\n3 1 0\\n0 0 0\\n1 0 0\\n0 2 0\\n3 0 1 2\\n", "a.off", inputs).size
    (1.0, 2.0, 0.0)
    """
    shown = shown_name(name)
    kind = query_kind(data, name)
    if what == "shape" and kind == "picture":
        raise QueryRefused(f"{shown} is a picture, not a shape", "format")
    if what == "drawing" and kind == "shape":
        raise QueryRefused(f"{shown} is a shape, not a picture", "format")
    if kind == "picture":
        return _prepare_drawing(data, shown, inputs)
    try:
        raw = read_shape(
            data, ending_of(name), shown, up=_axis(inputs, up), normalize=False, max_faces=max_faces
        )
        return _prepare_shape(raw, data, shown, inputs, thumbnail, preview)
    except ShapeError as error:
        if isinstance(error.__cause__, MemoryError):
            raise QueryRefused(str(error), "memory") from error
        raise QueryRefused(str(error), "damaged") from error


def prepare_source(
    source: ShapeSource, inputs: Inputs, *, thumbnail: bool = True, preview: bool = True
) -> Prepared:
    """Make a shape of a collection ready.

    Args:
        source: where it lies
        inputs: what the network takes
        thumbnail: draw one
        preview: make one

    Raises:
        QueryRefused: it cannot be read; the message names the file
        OSError: the file is gone or may not be read
    """
    axis = _axis(inputs, source.up)
    try:
        content = source.content()
        if source.member is None and source.ending == ".gltf":  # the numbers lie in other files beside it
            raw = load_shape(source.path, up=axis, normalize=False)
        else:
            raw = read_shape(content, source.ending, source.location, up=axis, normalize=False)
        return _prepare_shape(raw, content, source.location, inputs, thumbnail, preview)
    except ShapeError as error:
        text = str(error)
        text = text if str(source.path) in text else f"{source.location}: {text}"
        raise QueryRefused(
            text, "memory" if isinstance(error.__cause__, MemoryError) else "damaged"
        ) from error


def _axis(inputs: Inputs, up: Up) -> Up:
    return inputs.shape.up if up == "auto" else up


def _prepare_shape(
    raw: Shape, content: bytes, name: str, inputs: Inputs, thumbnail: bool, preview: bool
) -> Prepared:
    shape = normalize_shape(raw, "z")  # it was turned when it was read
    mesh = isinstance(raw, Mesh)
    points = raw.vertices if isinstance(raw, Mesh) else raw.points
    used = points[np.unique(raw.faces)] if isinstance(raw, Mesh) else points
    size = used.max(0) - used.min(0)
    sample = (
        render_shape(shape, inputs.shape.settings)
        if isinstance(inputs.shape, ViewsInput)
        else cloud_of(shape, content, inputs.shape.settings, name)
    )
    return Prepared(
        "shape",
        sample,
        hashlib.sha256(content).hexdigest(),
        "mesh" if mesh else "cloud",
        len(raw.faces) if isinstance(raw, Mesh) else 0,
        len(points),
        (float(size[0]), float(size[1]), float(size[2])),
        make_thumbnail(shape) if thumbnail else b"",
        make_preview(shape) if preview else b"",
        raw.notes,
    )


def _prepare_drawing(data: bytes, name: str, inputs: Inputs) -> Prepared:
    if inputs.drawing is None:
        raise QueryRefused(
            f"{name} is a picture, but the network of this index takes shapes only; train one with sketches "
            "(batchot train sketch-folder) to search by drawing",
            "format",
        )
    try:
        drawing = read_sketch(data, inputs.drawing.size, name)
    except DataError as error:
        raise QueryRefused(str(error), "damaged") from error
    if drawing is None:
        raise QueryRefused(f"{name} is blank; draw something, with more contrast", "blank")
    note = "" if is_line_drawing(data) else _NO_DRAWING
    return Prepared("drawing", drawing[None], hashlib.sha256(data).hexdigest(), note=note)
