"""Many queries with one open index, written as one table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchot.errors import RunError
from batchot.files import stamp_of, write_csv, write_text
from batchot.search.records import Filters, QueryRefused, SearchError, cell

if TYPE_CHECKING:
    from batchot.search.searcher import QueryKind, Searcher
    from batchot.shapes.shape import Up

COLUMNS = (
    "query", "rank", "name", "class", "distance", "likeness", "same_file", "nearly_same", "size_x", "size_y", "size_z",
    "top_class", "confidence", "nothing_like_it", "note", "error",
)  # fmt: skip
"""Of the table: a row for each result; a query without one has a row that says why in `note` or `error`."""


def queries_in(folder: Path, out: Path) -> list[Path]:
    """Give the files of a folder and of those below it, in order, without hidden ones and the table itself."""
    own = {out.resolve(), _part_of(out).resolve()}
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.resolve() not in own
    )


def _part_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.part")


def search_many(
    searcher: Searcher,
    folder: Path,
    out: Path,
    *,
    k: int = 10,
    filters: Filters | None = None,
    kind: QueryKind = "auto",
    up: Up = "auto",
    files: Sequence[Path] | None = None,
    done: Callable[[], object] = lambda: None,
) -> list[str]:
    """Look up every file of a folder and write what was found as CSV, see `COLUMNS`."""
    part = _part_of(out)
    files = queries_in(folder, out) if files is None else files
    filters = filters or Filters()
    if not files:
        raise SearchError(f"{folder} holds no file to ask for")
    manifest = searcher.manifest
    # another question, or an index that has changed since, begins anew
    asked = [str(folder.resolve()), k, asdict(filters), kind, up, manifest.fingerprint, manifest.changed]
    head = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    known = _read_part(part, head)
    failures: list[str] = []
    rows: list[dict[str, Any]] = []
    try:
        write_text(part, "".join(json.dumps(line) + "\n" for line in (head, *known.values())))
        with part.open("a", encoding="utf-8") as kept:
            for path in files:
                name = path.relative_to(folder).as_posix()
                found = known.get(name)
                stamp = list(stamp_of(path))
                if found is None or found["stamp"] != stamp:
                    found = {"query": name, "stamp": stamp}
                    found["rows"] = _rows(searcher, path, k=k, filters=filters, kind=kind, up=up)
                    kept.write(json.dumps(found) + "\n")
                    kept.flush()
                rows += [{"query": name, **row} for row in found["rows"]]
                failures += [f"{name}: {row['error']}" for row in found["rows"] if row.get("error")]
                done()
    except OSError as error:
        raise RunError(f"cannot write {part}: {error.strerror or error}") from error
    shown = [{name: cell(v) if isinstance(v, str) else v for name, v in row.items()} for row in rows]
    write_csv(out, shown, COLUMNS)
    part.unlink(missing_ok=True)
    return failures


def _read_part(part: Path, head: str) -> dict[str, dict[str, Any]]:
    """The answers that an interrupted call has left; its last line may be cut off."""
    try:
        first, *lines = part.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    if first != json.dumps(head):
        return {}
    known = {}
    for line in lines:
        try:
            answer = json.loads(line)
            known[answer["query"]] = answer
        except (ValueError, KeyError, TypeError):
            continue
    return known


def _rows(
    searcher: Searcher, path: Path, *, k: int, filters: Filters, kind: QueryKind, up: Up
) -> list[dict[str, Any]]:
    try:
        answer = searcher.search_file(path, kind=kind, up=up, k=k, filters=filters)
    except QueryRefused as error:
        return [{"error": str(error)}]
    except OSError as error:
        return [{"error": error.strerror or str(error)}]
    about = {
        "top_class": answer.top_class,
        "confidence": answer.confidence,
        "nothing_like_it": answer.nothing_like_it,
        "note": answer.note,
    }
    if not answer.hits:
        return [{**about, "note": answer.note or "no shape passes the filters"}]
    return [
        {
            "rank": rank,
            "name": hit.name,
            "class": hit.class_name,
            "distance": round(hit.distance, 6),
            "likeness": None if hit.likeness is None else round(hit.likeness, 4),
            "same_file": hit.same_file,
            "nearly_same": hit.nearly_same,
            **dict(zip(("size_x", "size_y", "size_z"), hit.size, strict=True)),
            **about,
        }
        for rank, hit in enumerate(answer.hits, 1)
    ]
