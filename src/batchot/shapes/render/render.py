"""Views of a shape: from a mesh or a cloud of points and some cameras to pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from batchot.errors import ShapeError
from batchot.shapes.render.cameras import Cameras, check_fit, framed, make_cameras
from batchot.shapes.render.cloud import ball_radius, draw_points
from batchot.shapes.render.mesh import FARTHEST, LANES, NEAREST, facets, fill, project
from batchot.shapes.render.shading import (
    CONTOUR,
    CREASE,
    CREASE_COSINE,
    NO_CREASE,
    OUTLINE,
    depth_pixels,
    find_lines,
    grey_codes,
    line_pixels,
    normal_codes,
    shaded_pixels,
    silhouette_pixels,
    upper_half,
)
from batchot.shapes.shape import Mesh, PointCloud, Shape

Channel: TypeAlias = Literal["shaded", "depth", "silhouette", "lines", "contours", "outline"]
CHANNELS: tuple[str, ...] = get_args(Channel)
LINE_CHANNELS = MappingProxyType({"lines": CONTOUR | CREASE, "contours": CONTOUR, "outline": OUTLINE})
"""Which of the lines that are found each channel draws."""
MAX_SAMPLES = 4096
"""The most samples along the side of a picture that the z-buffer addresses exactly."""


@dataclass(frozen=True, eq=False)
class _Samples:
    """What the samples of one picture see, the depths of the first and last level, and which lines to draw."""

    buffer: NDArray[np.unsignedinteger[Any]]
    low: float
    high: float
    extent: float
    least_step: float
    crease_cosine: float


def render_views(
    shape: Shape | str | PathLike[str],
    cameras: Cameras | str = "circle-12",
    *,
    size: int = 224,
    channels: Sequence[Channel] = ("shaded",),
    antialias: int = 2,
    background: int = 255,
    fit: float | None = None,
) -> NDArray[np.uint8]:
    r"""Pictures of a shape from several cameras, the same pixels on every run.

    ``"shaded"`` is grey by \|n · v\| of the flat face, v the camera's axis, so that it does not matter which
    way a face is turned. ``"depth"`` is 128 + 127 q.z, so near is bright, and 0 where there is nothing.
    ``"silhouette"`` is 255 inside and 0 outside. ``"lines"`` is a drawing in black on white of where the shape ends,
    hides itself or is bent by more than 38 degrees; ``"contours"`` is the same without the bends, and ``"outline"`` of
    where it ends alone.

    Args:
        shape: a shape in the unit sphere, which is taken as it is, or a file, which is read and normalised.
        cameras: a name of ``make_cameras`` or cameras.
        size: height and width of a picture in pixels.
        channels: what is drawn, one or more.
        antialias: samples a pixel along each side; ``size · antialias`` up to 4096.
        background: grey behind the shape in ``"shaded"``, 0 to 255.
        fit: share of a picture that stays free on each side of the shape, in [0, 0.5): each camera, which must be
            orthographic, is moved and its extent chosen so that the shape fills the rest. ``None``: the cameras stay.

    Returns:
        Pixels, (views, channels, size, size) uint8.

    Raises:
        ShapeError: the file cannot be read; or a part of the shape is behind a camera, or far outside its picture,
            neither of which can be with a normalised shape and the cameras that have a name.
        ValueError: an option that does not exist or is out of range.

    Example:
        >>> from batchot.shapes import Mesh
        >>> square = Mesh([[0, -0.5, -0.5], [0, 0.5, -0.5], [0, 0.5, 0.5], [0, -0.5, 0.5]], [[0, 1, 2], [0, 2, 3]])
        >>> views = render_views(square, "box-6", size=4, channels=("silhouette", "depth"))
        >>> views.shape
        (6, 2, 4, 4)
        >>> views[0, 0].tolist()
        [[0, 0, 0, 0], [0, 255, 255, 0], [0, 255, 255, 0], [0, 0, 0, 0]]
    """
    views = make_cameras(cameras) if isinstance(cameras, str) else cameras
    check_options(size, channels, antialias, background)
    check_fit(fit, views)
    name = ""
    if not isinstance(shape, (Mesh, PointCloud)):
        from batchot.shapes.formats.read import load_shape

        name = f"{fspath(shape)}: "
        shape = load_shape(shape)
    pixels = np.empty((len(views), len(channels), size, size), np.uint8)
    try:
        side = size * antialias
        if isinstance(shape, PointCloud):
            draw = _draw_cloud(shape, views, side, background, fit)
        else:
            with_normals = not set(LINE_CHANNELS).isdisjoint(channels)
            draw = _draw_mesh(shape, views, side, with_normals, background, fit)
        for view, samples in enumerate(draw):
            _develop(samples, views, channels, antialias, pixels[view])
    except ShapeError as error:
        raise ShapeError(f"{name}{error}") from error
    return pixels


def check_options(size: int, channels: Sequence[str], antialias: int, background: int) -> None:
    """Refuse what cannot be drawn."""
    if isinstance(channels, str) or not channels:
        raise ValueError(
            f"channels must be a sequence of one or more of {', '.join(CHANNELS)}, got {channels!r}"
        )
    for channel in channels:
        if channel not in CHANNELS:
            raise ValueError(f"there is no channel {channel!r}; there are {', '.join(CHANNELS)}")
    if size < 1 or antialias < 1 or size * antialias > MAX_SAMPLES:
        raise ValueError(
            f"size and antialias must be positive and their product at most {MAX_SAMPLES}, got {size} and {antialias}"
        )
    if not 0 <= background <= 255:
        raise ValueError(f"background must be a grey from 0 to 255, got {background}")


def _draw_mesh(
    mesh: Mesh, cameras: Cameras, samples: int, with_normals: bool, background: int, fit: float | None
) -> Iterator[_Samples]:
    """The samples of one camera after the other; each is overwritten by the next."""
    parts = facets(mesh)
    n, m = len(parts.vertices), len(parts.ordered)
    corners, cells = np.empty((3, n), np.float32), np.empty((2, n), np.int32)
    word = np.dtype(np.uint64 if with_normals else np.uint32)
    codes, buffer = np.empty(m, word), np.empty(samples * samples + LANES, word)
    behind = background << 32 if with_normals else background
    for view, rotation in enumerate(cameras.rotations):
        vertices, extent = framed(parts.vertices, rotation, cameras, fit)
        low, high, ahead, farthest = project(
            vertices, rotation, cameras.distance, extent, samples, corners, cells
        )
        _check_in_sight(ahead, farthest, view, cameras)
        if with_normals:
            normal_codes(parts.normals, parts.offsets, rotation, cameras.distance, codes)
        else:
            grey_codes(parts.normals, rotation, codes)
        buffer.fill(behind)
        fill(parts.ordered, corners, cells, codes, samples, buffer)
        yield _Samples(buffer, low, high, extent, 0.0, CREASE_COSINE)


def _draw_cloud(
    cloud: PointCloud, cameras: Cameras, samples: int, background: int, fit: float | None
) -> Iterator[_Samples]:
    """The samples of one camera after the other; each is overwritten by the next."""
    radius = ball_radius(cloud.points)
    normals = np.empty((0, 3)) if cloud.normals is None else cloud.normals
    buffer = np.empty(samples * samples, np.uint64)
    for view, rotation in enumerate(cameras.rotations):
        points, extent = framed(cloud.points, rotation, cameras, fit)
        low, high, ahead, farthest = draw_points(
            points,
            normals,
            radius,
            rotation,
            cameras.distance,
            extent,
            samples,
            np.uint64(background << 32),
            buffer,
        )
        _check_in_sight(ahead, farthest, view, cameras)
        # Normals are means over a ball, so they do not tell a fold, and steps within a ball are noise.
        yield _Samples(buffer, low, high, extent, radius, NO_CREASE)


def _check_in_sight(ahead: float, farthest: float, view: int, cameras: Cameras) -> None:
    """Refuse what cannot be drawn: least 1 - q.z / distance too small or largest coordinate, in pictures, too large."""
    if not ahead >= NEAREST:
        raise ShapeError(
            f"a part of the shape is beside or behind camera {view} of {cameras.name!r}, which is "
            f"{cameras.distance:g} from the origin; normalise the shape or move the camera away"
        )
    if not farthest <= FARTHEST:
        raise ShapeError(
            f"the shape is {2 * farthest:.3g} times as large as the picture of camera {view} of {cameras.name!r}; "
            "normalise the shape or choose a larger extent"
        )


def _develop(
    samples: _Samples, cameras: Cameras, channels: Sequence[str], antialias: int, pixels: NDArray[np.uint8]
) -> None:
    """Write the channels of one view, (c, size, size)."""
    buffer = samples.buffer
    if buffer.dtype == np.uint64:
        buffer = np.empty(buffer.size, np.uint32)
        upper_half(samples.buffer, buffer)
    marks = None  # found once, whatever is drawn of them
    for k, channel in enumerate(channels):
        if channel == "shaded":
            shaded_pixels(buffer, antialias, pixels[k])
        elif channel == "silhouette":
            silhouette_pixels(buffer, antialias, pixels[k])
        elif channel == "depth":
            depth_pixels(buffer, antialias, samples.low, samples.high, cameras.distance, pixels[k])
        else:
            if marks is None:
                marks = find_lines(
                    samples.buffer,
                    len(pixels[k]) * antialias,
                    samples.low,
                    samples.high,
                    cameras.distance,
                    samples.extent,
                    samples.least_step,
                    samples.crease_cosine,
                )
            line_pixels(marks, LINE_CHANNELS[channel], antialias, pixels[k])
