"""Pieces of HTML: tables, figures for light and dark, thumbnails."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from batchot.reporting.material import shrink
from batchot.reporting.sheet import picture
from batchot.reporting.theme import DARK, LIGHT, Theme, figure_png

_TINY = 48  # pixels below which a thumbnail is enlarged without blur


def data_uri(png: bytes) -> str:
    """Give a PNG file as an address that needs no file.

    >>> data_uri(b"png")
    'data:image/png;base64,cG5n'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def themed_figure(draw: Callable[[Theme], Figure], alt: str) -> str:
    """Draw a figure twice; the screen's preference chooses."""
    light, dark = (data_uri(figure_png(draw(theme))) for theme in (LIGHT, DARK))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img loading="lazy" alt="{escape(alt)}" src="{light}"></picture>\n'
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 0) -> str:
    """Make a table that scrolls within the page.

    Args:
        header: names of the columns, as text
        rows: cells, as HTML that is escaped already; one that starts with "<td" stands as it is
        names: so many columns at the left are text

    Returns:
        A div element.
    """

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
    """Give a fraction in percent with two decimals, nothing for None.

    >>> percent(0.98765), percent(None)
    ('98.77', '')
    """
    return "" if value is None else f"{100 * value:.2f}"


def bar_cell(value: float | None) -> str:
    """Make a table cell with a percentage over a bar of that length."""
    if value is None:
        return "<td></td>"
    return f'<td class="bar" style="--share:{100 * value:.1f}%">{percent(value)}</td>'


class Pictured(Protocol):
    """Items with a small picture, a name and a class each, as `ReportMaterial` has them."""

    @property
    def thumbnails(self) -> Tensor:
        """uint8, (n, c, h, w)."""

    def name(self, item: int) -> str:
        """Give the name of an item."""

    def class_of(self, item: int) -> str:
        """Give the name of the class of an item."""


class Thumbnails:
    """Small pictures of items as figure elements; each is encoded once.

    Args:
        material: whose items
        side: longest side in pixels
    """

    def __init__(self, material: Pictured, *, side: int = 96) -> None:
        self.material = material
        self.side = side
        self._encoded: dict[int, str] = {}

    def figure(self, item: int, note: str = "", *, wrong: bool = False) -> str:
        """Make the figure of an item, its name and class below it.

        Args:
            item: index
            note: added to the text that appears over it
            wrong: mark it in red and with a cross

        Returns:
            A figure element.
        """
        name, of_class = self.material.name(item), self.material.class_of(item)
        short = _last_part(name, of_class)
        told = f"{name}, {of_class}" + (f", {note}" if note else "") + (", wrong" if wrong else "")
        _, _, h, w = self.material.thumbnails.shape
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
            pixels = shrink(self.material.thumbnails[item : item + 1].cpu(), side=self.side)[0].numpy()
            self._encoded[item] = data_uri(thumbnail_png(pixels))
        return self._encoded[item]


def _last_part(name: str, of_class: str) -> str:
    """The part of a name that tells it from others: "chair/chair_0893" of class "chair" is "0893"."""
    last = name.rstrip("/").rsplit("/", 1)[-1] or name
    return last.removeprefix(of_class).lstrip("_- ") or last


def thumbnail_png(pixels: np.ndarray) -> bytes:
    """Encode a thumbnail as a small PNG file with a palette.

    Args:
        pixels: uint8, (c, h, w); in colour if c is 3, else the first channel in grey

    Returns:
        The file.
    """
    image = picture(pixels)
    if image.mode == "L":
        # 32 greys are enough to see a shape by; the file is half as large
        image = image.point([min(255, round(v / 255 * 31) * 255 // 31) for v in range(256)])
    image = image.quantize(32 if image.mode == "L" else 128, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
