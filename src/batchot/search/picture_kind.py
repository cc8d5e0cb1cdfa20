"""Whether a picture is a line drawing, which is what the network was trained on."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_SIDE = 192  # pixels: enough for the strokes of a drawing
_INK = 40  # of 255: what differs more from the paper is not paper
_WINDOW = 0.085  # of the longer side: no pen is as wide
_FULL, _MOST_FULL = 0.97, 0.005


def is_line_drawing(data: bytes) -> bool:
    """Say whether a picture consists of strokes on paper, not of areas, as photos and shaded pictures do.

    Formula:
        at most 0.5 % of all windows, whose side is 8.5 % of the picture's, are filled with ink to 97 %

    Args:
        data: an image file that can be read

    >>> from PIL import ImageDraw
    >>> sheet, file = Image.new("L", (90, 60), "white"), io.BytesIO()
    >>> ImageDraw.Draw(sheet).ellipse((20, 10, 60, 50), outline="black", width=3)
    >>> sheet.save(file, "png")
    >>> is_line_drawing(file.getvalue())
    True
    """
    with Image.open(io.BytesIO(data)) as opened:
        opened.draft("L", (_SIDE, _SIDE))
        if opened.mode.startswith(("I", "F")):
            values = np.asarray(opened, np.float64)
            scaled = 255 * (values - values.min()) / max(float(np.ptp(values)), 1e-9)
            image = Image.fromarray(scaled.astype(np.uint8))
        else:
            image = opened.convert("RGBA" if opened.has_transparency_data else "L")
    image.thumbnail((_SIDE, _SIDE), reducing_gap=2.0)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    grey = np.asarray(image.convert("L"), np.int16)
    paper = int(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    side = max(3, round(_WINDOW * max(grey.shape)))
    if min(grey.shape) <= side:
        return True
    ink = np.pad((np.abs(grey - paper) > _INK).astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = ink[side:, side:] - ink[:-side, side:] - ink[side:, :-side] + ink[:-side, :-side]
    return float((inside >= _FULL * side**2).mean()) <= _MOST_FULL
