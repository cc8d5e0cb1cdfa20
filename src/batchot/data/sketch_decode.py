"""Files of sketches, in whatever format and depth, to grey pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from batchot.data.errors import DataError
from batchot.data.sketch_image import LEAST_CONTRAST, canonical, on_white_paper

MOST_PIXELS = 1 << 26
"""Larger pictures are refused before they are unpacked: 8,192 x 8,192, which is 256 MiB in memory."""
_ENOUGH = 4  # times the size that is wanted: finer pictures are averaged down before anything else


def read_sketch(file: Path | bytes, size: int, name: str = "") -> NDArray[np.uint8] | None:
    """A drawing from an image file, as :func:`~batchot.data.sketch_image.canonical` gives it.

    Taken are colours, palettes, 1 to 32 bits, transparency (over white; drawn in white, over black), drawings
    that are light on dark, and the first picture of an animation.

    Args:
        file: the file, or its content.
        size: height and width of the result.
        name: of the file, for messages, where its content is given.

    Returns:
        Dark strokes on white, uint8, shape ``(size, size)``; ``None`` where the picture is blank.

    Raises:
        DataError: when the file is damaged, no image, or of more than 2**26 pixels.

    Example:
        >>> import io
        >>> from PIL import Image, ImageDraw
        >>> from batchot.data.sketch_decode import read_sketch
        >>> chalk, file = Image.new("RGB", (90, 60), "black"), io.BytesIO()
        >>> ImageDraw.Draw(chalk).ellipse((20, 10, 60, 50), outline="yellow", width=2)
        >>> chalk.save(file, "png")
        >>> drawn = read_sketch(file.getvalue(), 32)
        >>> drawn.shape, int(drawn[0, 0]), int(drawn.min())
        ((32, 32), 255, 0)
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    name = name or (str(file) if isinstance(file, Path) else "the image")
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
            colours = _colours(opened, size, name)
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
    return canonical(on_white_paper(colours), size)


def _colours(opened: Image.Image, size: int, name: str) -> NDArray[np.uint8]:
    """Channels of 8 bits, ``(h, w, 1 or 3)``, no finer than needed."""
    opened.draft(
        None, (_ENOUGH * size, _ENOUGH * size)
    )  # JPEG files can be unpacked at a fraction of their size
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
