"""A small mesh of a shape for a browser, and a small picture."""

from __future__ import annotations

import io
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from batchot.errors import require
from batchot.shapes.render.cameras import Cameras, cameras_from_eyes
from batchot.shapes.render.render import render_views
from batchot.shapes.shape import Mesh, Shape

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
    file = io.BytesIO()
    image.save(file, "webp", quality=_QUALITY, method=2)
    return file.getvalue()


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
