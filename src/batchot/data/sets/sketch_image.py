"""Sketches from image files, cut to the ink and scaled."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from batchot.errors import DataError

MOST_PIXELS = 1 << 26
"""Larger pictures are refused before they are unpacked: 8,192 x 8,192, which is 256 MiB in memory."""
_ENOUGH = 4  # times the size that is wanted: finer pictures are averaged down before anything else


@contextlib.contextmanager
def readable_image(name: object) -> Iterator[None]:
    """Give what Pillow raises of a damaged file as an error that names it."""
    try:
        yield
    except DataError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        TypeError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{name} is damaged or no image ({error}); restore it or delete it") from error


def read_sketch(file: Path | bytes, size: int, name: str = "") -> NDArray[np.uint8] | None:
    """A drawing from an image file, as :func:`~batchot.data.sets.sketch_image.canonical` gives it."""
    return canonical(on_white_paper(read_colours(file, size, name)), size)


def read_colours(file: Path | bytes, size: int, name: str = "") -> NDArray[np.uint8]:
    """Channels of 8 bits of an image file, ``(h, w, 1 or 3)``, no finer than a square of ``size`` pixels needs."""
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    name = name or (str(file) if isinstance(file, Path) else "the image")
    with readable_image(name), Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
        return _colours(opened, size, name)


def _colours(opened: Image.Image, size: int, name: str) -> NDArray[np.uint8]:
    """Channels of 8 bits, ``(h, w, 1 or 3)``, no finer than needed."""
    # JPEG files can be unpacked at a fraction of their size
    opened.draft(None, (_ENOUGH * size, _ENOUGH * size))
    if opened.width * opened.height > MOST_PIXELS:
        raise DataError(
            f"{name} has {opened.width:,} x {opened.height:,} pixels, more than the {MOST_PIXELS:,} that are "
            "read; save it smaller"
        )
    image = ImageOps.exif_transpose(opened) if "exif" in opened.info else opened
    if image.mode.startswith(("I", "F")):
        return _eight_bits(np.asarray(image))[:, :, None]
    seen_through = image.has_transparency_data
    if image.mode not in ("L", "RGB", "RGBA") or seen_through:
        image = image.convert("RGBA" if seen_through else "L" if image.mode == "1" else "RGB")
    if (factor := min(image.size) // (_ENOUGH * size)) > 1:
        image = image.reduce(factor)  # averages what it does not keep; of RGBA, weighted by the opacity
    if not seen_through:
        pixels = np.asarray(image)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels
    return _over_paper(image)


def _over_paper(image: Image.Image) -> NDArray[np.uint8]:
    """A transparent drawing over white; over black where nothing of it would be seen on white."""
    for paper in ("white", "black"):
        flat = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB"))
        if int(np.ptp(flat, axis=(0, 1)).max(initial=0)) >= LEAST_CONTRAST:
            break
    return flat


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey of 16 or 32 bits or of floating point to 0 .. 255, by the range that its largest value tells."""
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(numbers.max(initial=0.0))
    tops = (1.0,) if np.issubdtype(values.dtype, np.floating) else ()
    top = next((top for top in (*tops, 255.0, 65535.0) if largest <= top), largest)
    if values.dtype.itemsize == 2:
        top = 65535.0
    return np.rint(np.clip(numbers, 0.0, top) * (255.0 / top)).astype(np.uint8)


MARGIN = 0.05
"""Share of the picture that is left white on each side of a drawing."""
LEAST_CONTRAST = 24
"""A picture of which no pixel differs more from its paper, of 255, is blank."""
_DIRT = 0.1  # of the strongest ink: what is weaker is the grain of the paper or what a JPEG file makes up
_STROKE = 0.25  # of the darkest: what is darker belongs to a stroke, what is lighter is dirt or blur
_DARKEST = 90.0  # percentile of the stroke pixels that becomes black, once averaging has made them pale
_GAMMA = 0.75  # below 1: thin strokes beside thick ones stay visible


def canonical(pixels: NDArray[np.uint8], size: int, *, margin: float = MARGIN) -> NDArray[np.uint8] | None:
    """A drawing in the middle of a square, as large as the margin allows, its proportions kept."""
    ink = 255 - pixels
    darkest = int(ink.max(initial=0))
    if darkest < LEAST_CONTRAST:
        return None
    drawn = ink >= max(_STROKE * darkest, 1.0)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    room = max(round(size * (1.0 - 2.0 * margin)), 1)
    scale = room / max(box.shape)
    height, width = (max(round(scale * side), 1) for side in box.shape)
    choice = Image.Resampling.BOX if scale < 1.0 else Image.Resampling.BILINEAR
    scaled = np.asarray(Image.fromarray(box).resize((width, height), choice), dtype=np.float32)
    strokes = scaled[scaled >= _STROKE * scaled.max()]
    strength = np.minimum(scaled / np.percentile(strokes, _DARKEST), 1.0) ** _GAMMA
    result = np.full((size, size), 255, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    result[top : top + height, left : left + width] = np.rint(255.0 * (1.0 - strength))
    return result


def on_white_paper(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Dark strokes on white paper, whatever the colours of both."""
    height, width = colours.shape[:2]
    ring = np.ones((height, width), bool)
    # Wide enough that a thin frame, or a stroke along the border, is the smaller part of it.
    edge = min(max(3, max(height, width) // 25), max(1, min(height, width) // 4))
    ring[edge : height - edge, edge : width - edge] = False
    paper = np.median(colours[ring], axis=0)  # (channels,)
    ink = np.zeros((height, width), np.int16)
    for channel, shade in enumerate(paper.astype(np.int16)):  # a maximum along an axis of three is slow
        np.maximum(ink, np.abs(colours[:, :, channel] - shade), out=ink)
    strongest = int(ink.max(initial=0))
    if strongest >= LEAST_CONTRAST:
        ink = np.maximum(ink - _DIRT * strongest, 0.0) * (255.0 / ((1.0 - _DIRT) * strongest))
    return 255 - np.rint(ink).astype(np.uint8)
