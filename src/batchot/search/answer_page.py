"""An answer as text, as JSON and as a page with pictures."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from batchot.reporting.style import STYLE
from batchot.search.errors import printable
from batchot.search.records import Hit
from batchot.search.searcher import Answer, Searcher

_CARDS = """
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .8rem; padding: 0;
  list-style: none; margin: 0; }
.cards li { border: 1px solid var(--line); border-radius: 10px; background: var(--card); padding: .6rem; }
.cards img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff; border-radius: 6px; }
.cards b, .cards span { display: block; overflow-wrap: anywhere; font-size: .82rem; line-height: 1.35; }
.cards .class { color: var(--muted); }
.query img { max-width: 12rem; background: #fff; border-radius: 6px; border: 1px solid var(--line); }
"""


def headline(answer: Answer) -> str:
    """Say in a sentence what the query is.

    Args:
        answer: of an index

    Returns:
        The most probable class with its confidence, or that nothing is like it.
    """
    if not answer.hits:
        return "no shape passes the filters"
    sure = "" if answer.confidence is None else f" ({100 * answer.confidence:.0f} % sure)"
    if answer.nothing_like_it:
        guess = f"; the closest would be {answer.top_class}" if answer.top_class else ""
        return f"nothing like this is in the index{guess}"
    if answer.top_class is None:
        return "the shapes of this index have no classes"
    return f"{answer.top_class}{sure}"


def answer_table(answer: Answer) -> str:
    """Lay an answer out as a table of text.

    Args:
        answer: of an index

    Returns:
        Lines: rank, distance, class, name.
    """
    width = max((len(hit.class_name or "-") for hit in answer.hits), default=0)
    lines = [headline(answer)]
    if answer.same_files:
        lines.append(f"this very file is in the index: {', '.join(answer.same_files[:5])}")
    if answer.note:
        lines.append(answer.note)
    for rank, hit in enumerate(answer.hits, 1):
        told = "  this very file" if hit.same_file else "  nearly the same" if hit.nearly_same else ""
        lines.append(f"{rank:4d}  {hit.distance:.4f}  {hit.class_name or '-':<{width}}  {hit.name}{told}")
    return "\n".join(printable(line) for line in lines)


def answer_json(answer: Answer, query: str) -> dict[str, Any]:
    """Give an answer as JSON can hold it.

    Args:
        answer: of an index
        query: what was asked for
    """
    return {
        "query": query,
        "taken_as": answer.query,
        "top_class": answer.top_class,
        "confidence": answer.confidence,
        "nothing_like_it": answer.nothing_like_it,
        "ranking": [{"class": name, "probability": p} for name, p in answer.ranking],
        "total": answer.total,
        "hits": [hit_json(hit) for hit in answer.hits],
        "same_files": list(answer.same_files),
        "note": answer.note,
        "seconds": answer.seconds,
    }


def hit_json(hit: Hit) -> dict[str, Any]:
    """Give a result as JSON can hold it."""
    return {
        "id": hit.id,
        "name": hit.name,
        "class": hit.class_name,
        "distance": hit.distance,
        "likeness": hit.likeness,
        "same_file": hit.same_file,
        "nearly_same": hit.nearly_same,
        "kind": hit.kind,
        "faces": hit.faces,
        "vertices": hit.vertices,
        "size": list(hit.size),
        "path": hit.path if hit.member is None else f"{hit.path}#{hit.member}",
    }


def answer_html(answer: Answer, query: str, searcher: Searcher, picture: bytes | None = None) -> str:
    """Make a page of an answer that needs no other file.

    Args:
        answer: of an index
        query: what was asked for
        searcher: has the pictures of the shapes
        picture: of the query, in any format that a browser shows

    Returns:
        The page.
    """
    cards = "\n".join(_card(hit, searcher.thumbnail(hit.id)) for hit in answer.hits)
    about = searcher.about
    shown = (
        f'<figure class="query"><img alt="the query" src="{_uri(picture)}"></figure>'
        if picture is not None
        else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(query)} in {escape(about.name)}</title><style>{STYLE}{_CARDS}</style></head>
<body><main>
<h1>{escape(headline(answer))}</h1>
<p class="about">{escape(query)}, looked up among {about.count:,} shapes of {escape(about.name)}</p>
{_told(answer)}{shown}<section><h2>Nearest shapes</h2><ol class="cards">
{cards}
</ol></section></main></body></html>
"""


def _told(answer: Answer) -> str:
    same = (
        f"This very file is in the index: {', '.join(answer.same_files[:5])}. " if answer.same_files else ""
    )
    text = same + (answer.note[:1].upper() + answer.note[1:])
    return f"<p>{escape(text)}</p>" if text else ""


def _card(hit: Hit, thumbnail: bytes) -> str:
    alike = "" if hit.likeness is None else f", of its class {100 * hit.likeness:.0f} %"
    alike += ", this very file" if hit.same_file else ", nearly the same" if hit.nearly_same else ""
    return (
        f'<li><img loading="lazy" alt="{escape(hit.name)}" src="{_uri(thumbnail)}">'
        f'<b>{escape(hit.name)}</b><span class="class">{escape(hit.class_name or "no class")}</span>'
        f'<span class="class">distance {hit.distance:.4f}{alike}</span></li>'
    )


def _uri(image: bytes) -> str:
    kind = "webp" if image[8:12] == b"WEBP" else "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
