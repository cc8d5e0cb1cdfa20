"""Colours, tables and figures of pages."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from PIL import Image

from batchot.files import picture_file
from batchot.reporting.material import Items, shrink
from batchot.reporting.sheet import picture

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
    """Give a name as a figure can show it: no formula, no script that matplotlib's font lacks, not too long."""
    if not name.strip() or any(ord(character) not in _drawable() for character in name):
        return instead
    cut = name if len(name) <= longest else name[: longest - 1] + "…"
    return cut.replace("$", "\\$")


def figure_png(figure: Figure, *, dpi: float = 130, colours: int | None = 128) -> bytes:
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    return picture_file(image, optimize=True)


_TINY = 48  # pixels below which a thumbnail is enlarged without blur


def data_uri(png: bytes) -> str:
    """Give a PNG file as an address that needs no file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def themed_figure(draw: Callable[[Theme], Figure], alt: str) -> str:
    """Draw a figure twice; the screen's preference chooses."""
    light, dark = (data_uri(figure_png(draw(theme))) for theme in (LIGHT, DARK))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img loading="lazy" alt="{escape(alt)}" src="{light}"></picture>\n'
    )


def in_plots(parts: Mapping[str, Callable[[Theme], Figure]]) -> str:
    """Draw figures, each with its name, side by side."""
    return f'<div class="plots">{"".join(themed_figure(draw, name) for name, draw in parts.items())}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 0) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="name"'] * names + [""] * len(cells)
        return "".join(
            cell if cell.startswith("<td") else f"<{tag}{kind}>{cell}</{tag}>"
            for cell, kind in zip(cells, kinds, strict=False)
        )

    body = "\n".join(f"<tr>{line(cells, 'td')}</tr>" for cells in rows)
    head = line([escape(name) for name in header], "th")
    return (
        f'<div class="scroll"><table class="data"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def percent(value: float | None) -> str:
    """Give a fraction in percent with two decimals, nothing for None."""
    return "" if value is None else f"{100 * value:.2f}"


def bar_cell(value: float | None) -> str:
    """Make a table cell with a percentage over a bar of that length."""
    if value is None:
        return "<td></td>"
    return f'<td class="bar" style="--share:{100 * value:.1f}%">{percent(value)}</td>'


class Thumbnails:
    """Small pictures of items as figure elements; each is encoded once."""

    def __init__(self, items: Items, classes: Sequence[str], *, side: int = 96) -> None:
        self.items, self.classes, self.side = items, classes, side
        self._encoded: dict[int, str] = {}

    def figure(self, item: int, note: str = "", *, wrong: bool = False) -> str:
        """Make the figure of an item, its name and class below it."""
        name, of_class = self.items.name(item), self.classes[int(self.items.labels[item])]
        short = _last_part(name, of_class)
        told = f"{name}, {of_class}" + (f", {note}" if note else "") + (", wrong" if wrong else "")
        _, _, h, w = self.items.thumbnails.shape
        tiny = ' class="tiny"' if max(h, w) < _TINY else ""
        marked = ' class="wrong"' if wrong else ""
        return (
            f'<figure{marked} title="{escape(told)}">'
            f'<img{tiny} loading="lazy" alt="{escape(told)}" src="{self._uri(item)}">'
            f"<figcaption><span>{escape(short)}</span>"
            f'<span class="class">{escape(of_class)}</span></figcaption></figure>'
        )

    def _uri(self, item: int) -> str:
        if item not in self._encoded:
            pixels = shrink(self.items.thumbnails[item : item + 1].cpu(), side=self.side)[0].numpy()
            self._encoded[item] = data_uri(thumbnail_png(pixels))
        return self._encoded[item]


def _last_part(name: str, of_class: str) -> str:
    """The part of a name that tells it from others: "chair/chair_0893" of class "chair" is "0893"."""
    last = name.rstrip("/").rsplit("/", 1)[-1] or name
    return last.removeprefix(of_class).lstrip("_- ") or last


def thumbnail_png(pixels: np.ndarray) -> bytes:
    image = picture(pixels)
    if image.mode == "L":
        # 32 greys are enough to see a shape by; the file is half as large
        image = image.point([min(255, round(v / 255 * 31) * 255 // 31) for v in range(256)])
    image = image.quantize(32 if image.mode == "L" else 128, dither=Image.Dither.NONE)
    return picture_file(image, optimize=True)
