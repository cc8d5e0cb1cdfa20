"""Drawings brought to one form: dark strokes on white paper, centred, of one size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MARGIN = 0.05
"""Share of the picture that is left white on each side of a drawing."""
LEAST_CONTRAST = 24
"""A picture of which no pixel differs more from its paper, of 255, is blank."""
_DIRT = 0.1  # of the strongest ink: what is weaker is the grain of the paper or what a JPEG file makes up
_STROKE = 0.25  # of the darkest: what is darker belongs to a stroke, what is lighter is dirt or blur
_DARKEST = 90.0  # percentile of the stroke pixels that becomes black, once averaging has made them pale
_GAMMA = 0.75  # below 1: thin strokes beside thick ones stay visible


def canonical(pixels: NDArray[np.uint8], size: int, *, margin: float = MARGIN) -> NDArray[np.uint8] | None:
    """A drawing in the middle of a square, as large as the margin allows, its proportions kept.

    Its bounding box is what counts, not where on the paper it was drawn. Making it smaller averages areas and
    then restores the contrast, ``ink <- min(1, ink / q) ** 0.75`` with ``q`` the 90th percentile of the ink of the
    strokes, so that strokes much thinner than a pixel stay dark.

    Args:
        pixels: dark strokes on white paper, shape ``(h, w)``.
        size: height and width of the result.
        margin: share of ``size`` that stays white on each side, in [0, 0.5).

    Returns:
        The same drawing, uint8, shape ``(size, size)``; ``None`` where there is nothing on the paper.

    Example:
        >>> import numpy as np
        >>> from batchot.data.sketch_image import canonical
        >>> paper = np.full((40, 60), 255, np.uint8)
        >>> paper[30, 10:50] = 0
        >>> drawn = canonical(paper, 20)
        >>> (drawn < 128).sum(0).tolist()
        [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    """
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
    """Dark strokes on white paper, whatever the colours of both.

    The paper's colour is the median of a ring along the border. Ink is how far a pixel is from it in the
    channel that shows it best, so yellow on white is seen as well as white on black; the weakest tenth is dirt.

    Args:
        colours: shape ``(h, w, channels)``.

    Returns:
        Grey, uint8, shape ``(h, w)``; the strongest ink is black unless the picture is blank.

    Example:
        >>> import numpy as np
        >>> from batchot.data.sketch_image import on_white_paper
        >>> chalk = np.zeros((9, 9, 1), np.uint8)
        >>> chalk[4, 2:7] = 200
        >>> on_white_paper(chalk)[4].tolist()
        [255, 255, 0, 0, 0, 0, 0, 255, 255]
    """
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
