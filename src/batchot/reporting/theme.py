"""Colours of the figures, light and dark, and figures as small PNG files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from PIL import Image

# Okabe and Ito's colours, told apart with every kind of colour vision; the first two are the strongest
_OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True)
class Theme:
    """Colours of a figure; those of the page are the same, see `batchot.reporting.style`."""

    ink: str
    muted: str
    background: str
    grid: str
    series: tuple[str, ...]


LIGHT = Theme("#1d2226", "#667079", "#ffffff", "#e3e6e8", (*_OKABE_ITO, "#a89b00", "#1d2226"))
DARK = Theme(
    "#e6e9eb",
    "#9aa4ad",
    "#1b1f23",
    "#343a40",
    ("#56b4e9", "#f0803c", "#2bbf95", "#d993bb", "#e69f00", "#5f92e6", "#f0e442", "#e6e9eb"),
)


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """Make an empty figure of so many inches in the colours of a theme."""
    return Figure(figsize=(width, height), layout="constrained", facecolor=theme.background)


def style_axes(axes: Axes, theme: Theme, *, grid: bool = True) -> None:
    """Give axes the colours of a theme, to be called when all is drawn."""
    axes.set_facecolor(theme.background)
    axes.tick_params(colors=theme.muted, which="both", labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_color(theme.grid)
        spine.set_visible(side in ("left", "bottom"))
    axes.title.set_color(theme.ink)
    axes.title.set_fontsize(10.5)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.muted)
        label.set_fontsize(9)
    if grid:
        axes.grid(color=theme.grid, linewidth=0.8)
        axes.set_axisbelow(True)
    legend = axes.get_legend()
    if legend is not None:
        legend.get_frame().set(facecolor=theme.background, edgecolor=theme.grid, alpha=0.9)
        for text in legend.get_texts():
            text.set_color(theme.ink)
            text.set_fontsize(9)


@cache
def _drawable() -> frozenset[int]:
    font = FT2Font(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    return frozenset(font.get_charmap())


def figure_text(name: str, instead: str, longest: int = 18) -> str:
    """Give a name as a figure can show it: no formula, no script that matplotlib's font lacks, not too long.

    >>> figure_text("5$ note", "class 3"), figure_text("椅子", "class 3")
    ('5\\\\$ note', 'class 3')
    """
    if not name.strip() or any(ord(character) not in _drawable() for character in name):
        return instead
    cut = name if len(name) <= longest else name[: longest - 1] + "…"
    return cut.replace("$", "\\$")


def figure_png(figure: Figure, *, dpi: float = 130, colours: int | None = 128) -> bytes:
    """Draw a figure as a PNG file.

    Args:
        figure: to be drawn
        dpi: pixels an inch
        colours: of a palette, which makes the file a third as large; None for all colours

    Returns:
        The file.
    """
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
