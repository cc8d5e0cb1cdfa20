"""Colours, tables and figures of pages."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from PIL import Image
from torch import Tensor

from batchot.reporting.material import shrink
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
    """Draw a figure as a PNG file."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


STYLE = """
:root { color-scheme: light dark; --paper: #f4f5f6; --card: #ffffff; --ink: #1d2226; --muted: #5f6971;
  --line: #e0e4e7; --accent: #0072b2; --bad: #d03030; --bar: #0072b238; --right: 0, 114, 178;
  --wrong: 213, 94, 0; --strong: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #121517; --card: #1b1f23; --ink: #e6e9eb;
  --muted: #9aa4ad; --line: #343a40; --accent: #56b4e9; --bad: #ff6b6b; --bar: #56b4e940;
  --right: 86, 180, 233; --wrong: 240, 128, 60; --strong: #121517; } }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, sans-serif; margin: 0; color: var(--ink); background: var(--paper); }
main { max-width: 74rem; margin: 0 auto; padding: 1.2rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .6rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
h3 { font-size: .95rem; margin: 1.4rem 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 54rem; }
/* names in a script that runs the other way do not turn what stands beside them */
figcaption span, th, td, b, h1, .about, .legend span { unicode-bidi: isolate; }
.muted, .about { color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .88rem; margin: .8rem 0 1rem; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 1rem 0;
  padding: 1.1rem 1.2rem; scroll-margin-top: .5rem; }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; }
.headline div { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .6rem .9rem; }
.headline b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.headline span { color: var(--muted); font-size: .83rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: .8rem;
  align-items: start; justify-items: center; }
.plots img { display: block; width: 100%; max-width: 30rem; height: auto; }
.beside { display: grid; gap: 1.2rem; align-items: start; }
@media (min-width: 64rem) { .beside { grid-template-columns: 2fr 3fr; } }
.beside > div { min-width: 0; }
.map img { max-width: 46rem; }
.scroll { overflow: auto; max-height: 34rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
.data td, .data th { padding: .22rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
.data thead th { position: sticky; top: 0; background: var(--card); color: var(--muted); font-weight: 600; }
.data .name { text-align: left; }
.data td.bar { background: linear-gradient(90deg, var(--bar) var(--share), transparent var(--share)); }
.confusion { border-spacing: 1px; border-collapse: separate; margin: 0; line-height: 1; }
.confusion td { min-width: var(--cell); width: var(--cell); height: var(--cell); padding: 0;
  text-align: center; background: color-mix(in srgb, var(--line) 38%, transparent); }
.confusion thead td { background: none; }
.confusion .d { background: rgba(var(--right), var(--share, 6%)); }
.confusion .w { background: rgba(var(--wrong), var(--share)); }
.confusion .s { color: var(--strong); }
.confusion th { font-weight: 400; color: var(--muted); white-space: nowrap; }
.confusion tbody th { text-align: right; padding-right: .45rem; position: sticky; left: 0;
  background: var(--card); max-width: 9rem; overflow: hidden; text-overflow: ellipsis; }
.confusion thead th { vertical-align: bottom; padding: 0 0 .35rem; }
.confusion thead span { writing-mode: vertical-rl; transform: rotate(180deg); display: inline-block;
  max-height: 8.5rem; overflow: hidden; text-overflow: ellipsis; }
.few { --cell: 2.7rem; } .many { --cell: 1.42rem; font-size: .68rem; } .crowd { --cell: .95rem;
  font-size: .62rem; }
.matrix { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; }
.matrix > div { max-height: none; max-width: 100%; flex: 0 1 auto; }
.matrix > div + div { flex: 1 1 18rem; }
.words { columns: 19rem auto; padding-left: 1.3rem; margin: .8rem 0 0; }
.words li { break-inside: avoid; padding: .08rem 0; }
.query { display: grid; grid-template-columns: 6.4rem minmax(0, 1fr); gap: .4rem 1.1rem; padding: .8rem 0;
  border-top: 1px solid var(--line); }
details > summary .muted { font-weight: 400; font-size: .85rem; }
details.asked { border-top: 1px solid var(--line); padding: .5rem 0; }
details.asked > .query:first-of-type { border-top: 0; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(4.6rem, 1fr)); gap: .6rem .5rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 14.5rem), 1fr));
  gap: .9rem; }
.pair { border: 1px solid var(--line); border-radius: 8px; padding: .55rem; }
.pair .two { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.pair p { margin: 0 0 .4rem; font-size: .8rem; color: var(--muted); font-variant-numeric: tabular-nums; }
.pair p b { color: var(--ink); }
figure { margin: 0; min-width: 0; position: relative; }
.row figure { max-width: 6.6rem; }
figure img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff;
  border-radius: 5px; outline: 1px solid var(--line); }
figure img.tiny { image-rendering: pixelated; }
figcaption { font-size: .7rem; line-height: 1.25; color: var(--muted); margin-top: .25rem; }
figcaption span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
figure.wrong img { outline: 3px solid var(--bad); }
figure.wrong::after { content: "✕"; position: absolute; top: 4px; right: 4px; width: 1.1rem;
  height: 1.1rem; border-radius: 50%; background: var(--bad); color: var(--strong); font-weight: 700;
  font-size: .72rem; line-height: 1.1rem; text-align: center; }
figure.wrong .class { color: var(--bad); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem .9rem; font-size: .8rem; margin-top: .6rem; }
.legend i { font-style: normal; color: var(--light); margin-right: .3rem; }
@media (prefers-color-scheme: dark) { .legend i { color: var(--dark); } }
pre { font-size: .8rem; overflow-x: auto; margin: .6rem 0 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 34rem) {
  main { padding: .6rem .5rem 3rem; } section { padding: .9rem .7rem; }
  .query { grid-template-columns: 1fr; } .query > figure { display: grid;
    grid-template-columns: 5.4rem 1fr; gap: .6rem; align-items: end; }
  .row { grid-template-columns: repeat(auto-fill, minmax(4rem, 1fr)); }
  .pairs { grid-template-columns: 1fr 1fr; gap: .5rem; } .pair { padding: .4rem; }
  .headline { grid-template-columns: 1fr 1fr; }
  .confusion tbody th { max-width: 5.5rem; }
}
@media print { section { break-inside: avoid; } .scroll { max-height: none; } }
"""


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


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 0) -> str:
    """Make a table that scrolls within the page."""

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
    """Small pictures of items as figure elements; each is encoded once."""

    def __init__(self, material: Pictured, *, side: int = 96) -> None:
        self.material = material
        self.side = side
        self._encoded: dict[int, str] = {}

    def figure(self, item: int, note: str = "", *, wrong: bool = False) -> str:
        """Make the figure of an item, its name and class below it."""
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
    """Encode a thumbnail as a small PNG file with a palette."""
    image = picture(pixels)
    if image.mode == "L":
        # 32 greys are enough to see a shape by; the file is half as large
        image = image.point([min(255, round(v / 255 * 31) * 255 // 31) for v in range(256)])
    image = image.quantize(32 if image.mode == "L" else 128, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
