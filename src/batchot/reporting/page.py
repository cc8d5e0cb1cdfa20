"""A self-contained page about a run."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto;
       padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #888; }
img { max-width: 100%; height: auto; }
pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: .85rem; }
"""


def make_page(
    title: str,
    about: str,
    header: Sequence[str],
    table: Sequence[Sequence[str]],
    figures: Mapping[str, bytes],
    config: str,
) -> str:
    """Make an HTML page that needs no other file.

    Args:
        title: heading
        about: paragraph below it
        header: names of the columns
        table: rows of cells
        figures: PNG files by their captions
        config: text of the settings

    Returns:
        The page.

    >>> "&lt;b&gt;" in make_page("<b>", "", ["a"], [["1"]], {}, "")
    True
    """
    escape = html.escape
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in table)
    pictures = "".join(
        f'<h2>{escape(caption)}</h2>\n<img alt="{escape(caption)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">\n'
        for caption, png in figures.items()
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<p>{escape(about)}</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}</tbody></table>
{pictures}<h2>Settings</h2>
<pre>{escape(config)}</pre>
</html>
"""
