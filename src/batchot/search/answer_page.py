"""Answers as tables, JSON and pages."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from batchot.errors import RunError
from batchot.files import page_style
from batchot.search.about import problems_of_store
from batchot.search.confidence import Calibration
from batchot.search.encoder import load_encoder
from batchot.search.known_queries import read_queries
from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.map import read_map
from batchot.search.records import Hit, SearchError, printable, size_in_words
from batchot.search.searcher import Answer, Searcher
from batchot.search.store import ShapeStore

_NAMED = 12


def describe(out: Path, *, allow_store: bool = False) -> dict[str, Any]:
    """Give what an index holds, as JSON can hold it."""
    index = IndexFolder(out)
    manifest = Manifest.read(index.manifest)
    with ShapeStore.open(index.store_uri(manifest, allow=allow_store)) as store:
        return {
            "index": str(out),
            "shapes": len(store),
            "classes": store.classes(),
            "complete": manifest.complete,
            "dimensions": manifest.dimensions,
            "run": manifest.run,
            "fingerprint": manifest.fingerprint,
            "inputs": manifest.inputs,
            "takes_drawings": manifest.inputs.get("drawing") is not None,
            "store": manifest.store,
            "roots": [root.path for root in manifest.roots],
            "approximate": manifest.approximate if store.has_approximate else None,
            "calibrations": {kind: c.to_json() for kind, c in manifest.calibrations.items()},
            "created": manifest.created,
            "changed": manifest.changed,
            "version": manifest.version,
        }


def describe_in_words(out: Path, *, allow_store: bool = False) -> str:
    """Give what an index holds, in lines of text."""
    about = describe(out, allow_store=allow_store)
    classes = sorted(
        ((n, name) for name, n in about["classes"].items() if name), key=lambda item: (-item[0], item[1])
    )
    lines = [f"{out}: {about['shapes']:,} shapes, {len(classes):,} classes, {about['dimensions']} dimensions"]
    if not about["complete"]:
        lines.append("the last build did not come to its end: type its command again to go on")
    if classes:
        shown = ", ".join(f"{name} {n:,}" for n, name in classes[:_NAMED])
        lines.append(
            f"classes: {shown}" + (f" and {len(classes) - _NAMED:,} more" if len(classes) > _NAMED else "")
        )
    lines.append(
        f"made with {about['run']}; takes shapes" + (" and drawings" if about["takes_drawings"] else "")
    )
    lines += [f"shapes of {root}" for root in about["roots"]]
    lines.append(f"stored in {about['store']}, created {about['created']}, changed {about['changed']}")
    if about["approximate"] is None:
        lines.append("search is exact")
    else:
        recall = about["approximate"]["recall"]
        lines.append(f"search is approximate; measured recall@10 {recall:.4f}")
    kinds = {"shape": "shapes", "drawing": "drawings"}
    for kind, values in about["calibrations"].items():
        lines.append(f"{kinds[kind]}: {_in_words(Calibration.from_json(values))}")
    if not about["calibrations"]:
        lines.append("not calibrated: there are too few shapes with a class; searches give no confidence")
    return "\n".join(lines)


def problems_of(out: Path, *, allow_store: bool = False) -> list[str]:
    """Read all of an index and say what is wrong with it."""
    index = IndexFolder(out)
    manifest = Manifest.read(index.manifest)
    problems = []
    if not manifest.complete:
        problems.append(f"{out}: the last build did not come to its end; type its command again")
    try:
        if load_encoder(index.model, "cpu").fingerprint != manifest.fingerprint:
            problems.append(f"{index.model} is not the network that the shapes were embedded with")
    except (SearchError, RunError, OSError) as error:
        problems.append(f"{index.model} cannot be loaded: {error}")
    for read, path in ((read_queries, index.queries), (read_map, index.map)):
        try:
            read(path)
        except SearchError as error:
            problems.append(str(error))
    try:
        with ShapeStore.open(index.store_uri(manifest, allow=allow_store)) as store:
            problems += problems_of_store(store, normalized=manifest.normalized)
    except SearchError as error:
        problems.append(str(error))
    return problems


def _in_words(c: Calibration) -> str:
    text = (
        f"calibrated by {c.queries:,} {c.source}: {100 * c.accuracy:.0f} % right, mean confidence "
        f"{100 * c.confidence:.0f} %, calibration error {100 * c.ece:.1f} %; of queries whose class is missing "
        f"{100 * c.rejects:.0f} % are told so, and {100 * c.false_alarms:.0f} % of the others"
    )
    return text + ("; optimistic, as the network may have been trained on them" if c.optimistic else "")


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
    return {
        "id": hit.id,
        "name": hit.name,
        "class": hit.class_name,
        "distance": hit.distance if compared else None,
        "likeness": hit.likeness,
        "same_file": hit.same_file,
        "nearly_same": hit.nearly_same,
        "kind": hit.kind,
        "faces": hit.faces,
        "vertices": hit.vertices,
        "size": list(hit.size),
        "area": hit.area,
        "volume": hit.volume,
        "unit": hit.unit,
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
