"""One drawing in every form in which sketches come."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def draw(size: tuple[int, int] = (120, 90), width: int = 3, shift: tuple[int, int] = (0, 0)) -> Image.Image:
    """A house with a round window: black on white, 8 bits, anything but symmetric."""
    paper = Image.new("L", size, 255)
    pen = ImageDraw.Draw(paper)
    w, h = size

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * w + shift[0], y * h + shift[1]) for x, y in points]

    pen.line(
        at((0.25, 0.8), (0.75, 0.8), (0.75, 0.45), (0.4, 0.15), (0.25, 0.45), (0.25, 0.8)),
        fill=0,
        width=width,
    )
    pen.ellipse(at((0.35, 0.5), (0.5, 0.65)), outline=0, width=width)
    return paper


def ink_of(drawing: Image.Image) -> NDArray[np.uint8]:
    return 255 - np.asarray(drawing)


def painted(drawing: Image.Image, ink: tuple[int, ...], paper: tuple[int, ...]) -> Image.Image:
    """The drawing in two colours."""
    share = ink_of(drawing)[:, :, None] / 255.0
    return Image.fromarray(np.rint(share * ink + (1 - share) * paper).astype(np.uint8))


def see_through(drawing: Image.Image, ink: tuple[int, int, int]) -> Image.Image:
    """Strokes of one colour on nothing; the colour of what is not seen is black."""
    alpha = ink_of(drawing)
    return Image.fromarray(np.dstack([*(np.full_like(alpha, c) * (alpha > 0) for c in ink), alpha]))


def packed(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def framed(drawing: Image.Image) -> Image.Image:
    """With a thin dark line around the paper, which cannot be told from the drawing but is no paper."""
    ImageDraw.Draw(drawing).rectangle((0, 0, drawing.width - 1, drawing.height - 1), outline=0)
    return drawing


def grey16(drawing: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(drawing).astype(np.uint16) * 257)


def grey16_dim(drawing: Image.Image) -> Image.Image:
    """16 bits of which the brightest is far below 65,535."""
    return Image.fromarray((np.asarray(drawing).astype(np.uint16) * 120) // 2)


def floating(drawing: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(drawing).astype(np.float32) / 255.0)


def palette(drawing: Image.Image) -> Image.Image:
    return drawing.convert("RGB").quantize(16)


def palette_see_through(drawing: Image.Image) -> Image.Image:
    """A palette of two colours of which the paper's, a black one, is transparent."""
    image = Image.fromarray((ink_of(drawing) > 127).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 10, 10, 40])
    image.info["transparency"] = 0
    return image


def turned_by_camera(drawing: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    return packed(drawing.transpose(Image.Transpose.ROTATE_90).convert("RGB"), "jpeg", quality=95, exif=exif)


FORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": lambda drawing: packed(drawing, "png"),
    "jpg": lambda drawing: packed(drawing, "jpeg", quality=80),
    "webp": lambda drawing: packed(drawing, "webp", lossless=True),
    "bmp": lambda drawing: packed(drawing, "bmp"),
    "gif": lambda drawing: packed(drawing, "gif"),
    "gif of two": lambda drawing: packed(
        drawing, "gif", save_all=True, append_images=[Image.new("L", drawing.size, 255)]
    ),
    "tif": lambda drawing: packed(drawing, "tiff"),
    "1 bit": lambda drawing: packed(drawing.convert("1"), "png"),
    "16 bits": lambda drawing: packed(grey16(drawing), "png"),
    "16 bits, dim": lambda drawing: packed(grey16_dim(drawing), "png"),
    "16 bits tif": lambda drawing: packed(grey16(drawing), "tiff"),
    "32 bits tif": lambda drawing: packed(
        Image.fromarray(np.asarray(drawing).astype(np.int32) * 257), "tiff"
    ),
    "float tif": lambda drawing: packed(floating(drawing), "tiff"),
    "palette": lambda drawing: packed(palette(drawing), "png"),
    "palette, see-through": lambda drawing: packed(palette_see_through(drawing), "png"),
    "alpha": lambda drawing: packed(see_through(drawing, (0, 0, 0)), "png"),
    "alpha, white strokes": lambda drawing: packed(see_through(drawing, (255, 255, 255)), "png"),
    "alpha webp": lambda drawing: packed(see_through(drawing, (20, 0, 90)), "webp", lossless=True),
    "grey and alpha": lambda drawing: packed(see_through(drawing, (0, 0, 0)).convert("LA"), "png"),
    "colour": lambda drawing: packed(painted(drawing, (200, 30, 30), (255, 255, 255)), "png"),
    "yellow on white": lambda drawing: packed(painted(drawing, (255, 255, 0), (255, 255, 255)), "png"),
    "cmyk": lambda drawing: packed(drawing.convert("CMYK"), "jpeg", quality=95),
    "white on black": lambda drawing: packed(painted(drawing, (255, 255, 255), (0, 0, 0)), "png"),
    "chalk on green": lambda drawing: packed(
        painted(drawing, (220, 220, 210), (30, 80, 50)), "jpeg", quality=95
    ),
    "pale pencil": lambda drawing: packed(painted(drawing, (190, 190, 190), (250, 248, 240)), "png"),
    "turned by the camera": turned_by_camera,
}
