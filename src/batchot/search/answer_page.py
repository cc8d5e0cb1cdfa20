"""Answers as tables, JSON and pages."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from batchot.files import page_style
from batchot.search.records import Hit, printable, size_in_words
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


_OF_HIT = (
    "id", "name", "class_name", "distance", "likeness", "same_file", "nearly_same", "kind", "faces", "vertices", "size",
    "area", "volume", "unit", "path",
)  # fmt: skip


def headline(answer: Answer) -> str:
    """Say in a sentence what the query is."""
    if not answer.hits:
        return answer.note or "no shape passes the filters"
    sure = "" if answer.confidence is None else f" ({100 * answer.confidence:.0f} % sure)"
    if answer.nothing_like_it:
        guess = f"; the closest would be {answer.top_class}" if answer.top_class else ""
        return f"nothing like this is in the index{guess}"
    if answer.query == "name":
        return f"{answer.total:,} shapes" if answer.total != 1 else "1 shape"
    if answer.top_class is None:
        return "the shapes of this index have no classes"
    return f"{answer.top_class}{sure}"


def answer_table(answer: Answer, sizes: bool = False) -> str:
    """Lay an answer out as a table of text."""
    width = max((len(hit.class_name or "-") for hit in answer.hits), default=0)
    lines = [headline(answer)]
    if answer.same_files:
        lines.append(f"this very file is in the index: {', '.join(answer.same_files[:5])}")
    if answer.note and answer.hits:
        lines.append(answer.note)
    for rank, hit in enumerate(answer.hits, 1):
        told = "  this very file" if hit.same_file else "  nearly the same" if hit.nearly_same else ""
        distance = "" if answer.query == "name" else f"{hit.distance:.4f}  "
        large = f"  {size_in_words(hit)}" if sizes else ""
        lines.append(f"{rank:4d}  {distance}{hit.class_name or '-':<{width}}  {hit.name}{told}{large}")
    return "\n".join(printable(line) for line in lines)


def answer_json(answer: Answer, query: str) -> dict[str, Any]:
    """Give an answer as JSON can hold it."""
    return {
        "query": query,
        "taken_as": answer.query,
        "top_class": answer.top_class,
        "confidence": answer.confidence,
        "nothing_like_it": answer.nothing_like_it,
        "ranking": [{"class": name, "probability": p} for name, p in answer.ranking],
        "total": answer.total,
        "hits": [hit_json(hit, compared=answer.query != "name") for hit in answer.hits],
        "same_files": list(answer.same_files),
        "note": answer.note,
        "seconds": answer.seconds,
    }


def hit_json(hit: Hit, *, compared: bool = True) -> dict[str, Any]:
    """Give a result as JSON can hold it; one that was compared with nothing has no distance."""
    shown = {"class" if name == "class_name" else name: getattr(hit, name) for name in _OF_HIT}
    return {
        **shown,
        "distance": hit.distance if compared else None,
        "size": list(hit.size),
        "path": hit.path if hit.member is None else f"{hit.path}#{hit.member}",
    }


def answer_html(answer: Answer, query: str, searcher: Searcher, picture: bytes | None = None) -> str:
    """Make a page of an answer that needs no other file."""
    compared = answer.query != "name"
    cards = "\n".join(_card(hit, searcher.thumbnail(hit.id), compared) for hit in answer.hits)
    about = searcher.about
    shown = (
        f'<figure class="query"><img alt="the query" src="{_uri(picture)}"></figure>'
        if picture is not None
        else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(query)} in {escape(about.name)}</title><style>{page_style()}{_CARDS}</style></head>
<body><main>
<h1>{escape(headline(answer))}</h1>
<p class="about">{escape(query)}, looked up among {about.count:,} shapes of {escape(about.name)}</p>
{_told(answer)}{shown}<section><h2>{"Nearest shapes" if compared else "Shapes by name"}</h2><ol class="cards">
{cards}
</ol></section></main></body></html>
"""


def _told(answer: Answer) -> str:
    same = (
        f"This very file is in the index: {', '.join(answer.same_files[:5])}. " if answer.same_files else ""
    )
    text = same + (answer.note[:1].upper() + answer.note[1:])
    return f"<p>{escape(text)}</p>" if text else ""


def _card(hit: Hit, thumbnail: bytes, compared: bool) -> str:
    alike = "" if hit.likeness is None else f", of its class {100 * hit.likeness:.0f} %"
    alike += ", this very file" if hit.same_file else ", nearly the same" if hit.nearly_same else ""
    return (
        f'<li><img loading="lazy" alt="{escape(hit.name)}" src="{_uri(thumbnail)}">'
        f'<b>{escape(hit.name)}</b><span class="class">{escape(hit.class_name or "no class")}</span>'
        + (f'<span class="class">distance {hit.distance:.4f}{alike}</span></li>' if compared else "</li>")
    )


def _uri(image: bytes) -> str:
    kind = "webp" if image[8:12] == b"WEBP" else "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
