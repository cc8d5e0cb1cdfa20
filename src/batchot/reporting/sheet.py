"""Sheets of many small pictures as one PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from batchot.files import picture_file

_INK, _PAPER, _LINE, _RED = (29, 34, 38), (255, 255, 255), (215, 219, 222), (208, 48, 48)
_LARGEST = 300_000_000  # pixels of a sheet


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture in a row of a sheet."""

    pixels: np.ndarray  # (c, h, w) uint8
    wrong: bool = False  # crossed and framed in red


def draw_contact_sheet(
    views: np.ndarray,
    names: Sequence[str],
    *,
    columns: int = 1,
    side: int | None = None,
    view_names: Sequence[str] | None = None,
) -> bytes:
    """Draw the views of many shapes on one sheet: a strip of views for each, its name above it."""
    views = np.asarray(views)
    if views.ndim != 4 or views.dtype != np.uint8 or 0 in views.shape:
        raise ValueError(f"views must be uint8 of shape (n, v, h, w), got {views.dtype} {views.shape}")
    n, v, h, w = views.shape
    if len(names) != n:
        raise ValueError(f"{n} shapes came with {len(names)} names")
    if view_names is not None and len(view_names) != v:
        raise ValueError(f"{v} views came with {len(view_names)} names of views")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    side = min(112, w) if side is None else side
    high = max(1, round(h * side / w))
    columns = min(columns, n)
    rows, gap, text = -(-n // columns), 10, 16
    top = gap + (text if view_names is not None else 0)
    width, height = columns * (v * side + gap) + gap, rows * (high + text + gap) + top
    if width * height > _LARGEST:
        raise ValueError(
            f"a sheet of {n:,} shapes with {v} views of {side} pixels would be {width:,} x {height:,} pixels; "
            "draw fewer shapes or a smaller side"
        )
    if (high, side) != (h, w):
        # all views are one tall picture, so that one call scales them; edges of views stay edges of pixels
        tall = Image.fromarray(views.reshape(n * v * h, w))
        views = np.asarray(tall.resize((side, n * v * high), Image.Resampling.BOX)).reshape(n, v, high, side)
    sheet = np.full((height, width), 255, np.uint8)
    strips = views.transpose(0, 2, 1, 3).reshape(n, high, v * side)
    corners = [
        (gap + i % columns * (v * side + gap), top + i // columns * (high + text + gap)) for i in range(n)
    ]
    for strip, (x, y) in zip(strips, corners, strict=True):
        sheet[y + text : y + text + high, x : x + v * side] = strip
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    for name, (x, y) in zip(names, corners, strict=True):
        draw.text((x, y + 1), _fitting(name, v * side, 11), fill=40, font=_font(11))
        draw.rectangle((x - 1, y + text - 1, x + v * side, y + text + high), outline=215)
    if view_names is not None:
        for x, _ in corners[:columns]:
            for j, name in enumerate(view_names):
                draw.text((x + j * side, 4), _fitting(name, side, 11), fill=110, font=_font(11))
    return picture_file(image)


def draw_rows(rows: Sequence[tuple[str, Sequence[Cell]]], *, title: str = "", side: int = 64) -> bytes:
    """Draw rows of pictures with a heading each; the first of a row is set apart."""
    lines = title.splitlines()
    gap, left = 6, 12 + max((int(_font(13).getlength(_short(name))) for name, _ in rows), default=0)
    top = 10 + 20 * len(lines)
    across = max((len(cells) for _, cells in rows), default=1)
    words = max((int(_font(14).getlength(line)) for line in lines), default=0)
    width = max(left + (across + 1) * (side + gap), words + 20)
    image = Image.new("RGB", (width, top + max(1, len(rows)) * (side + gap) + gap), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((10, 8 + 20 * number), _printable(line), fill=_INK, font=_font(14))
    for number, (name, cells) in enumerate(rows):
        y = top + number * (side + gap)
        draw.text((left - 8, y + side // 2), _short(name), fill=_INK, font=_font(13), anchor="rm")
        for place, cell in enumerate(cells):
            x = left + place * (side + gap) + (side // 4 if place else 0)
            image.paste(_scaled(picture(cell.pixels), side), (x, y))
            frame = (x - 2, y - 2, x + side + 1, y + side + 1)
            draw.rectangle(frame, outline=_RED if cell.wrong else _LINE, width=2 if cell.wrong else 1)
            if cell.wrong:
                _cross(draw, x + side - 13, y + 3)
    return picture_file(image)


def picture(pixels: np.ndarray) -> Image.Image:
    """Make an image of pixels: in colour if there are three channels, else of the first."""
    return Image.fromarray(
        np.ascontiguousarray(pixels.transpose(1, 2, 0) if pixels.shape[0] == 3 else pixels[0])
    )


def _scaled(image: Image.Image, side: int) -> Image.Image:
    """The image on a square, enlarged without blur where it is small."""
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    method = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
    square = Image.new("RGB", (side, side), _PAPER)
    square.paste(image.resize(size, method), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _cross(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.rectangle((x - 2, y - 2, x + 11, y + 11), fill=_RED)
    draw.line((x, y, x + 9, y + 9), fill=_PAPER, width=2)
    draw.line((x, y + 9, x + 9, y), fill=_PAPER, width=2)


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else " " for character in name)


def _short(name: str) -> str:
    name = _printable(name)
    return name if len(name) <= 24 else name[:23] + "…"


def _fitting(name: str, width: int, size: int) -> str:
    """The name, or its end behind dots: names of one class differ at the end."""
    font = _font(size)
    name = _printable(name)
    if font.getlength(name) <= width:
        return name
    while name and font.getlength("…" + name) > width:
        name = name[1:]
    return "…" + name


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    # the other layout engine is there on some machines only, and gives up on some names
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
