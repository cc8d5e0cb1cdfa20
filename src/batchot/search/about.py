"""What an index holds, what is wrong with it, and what is in it more than once."""

from __future__ import annotations

import io
import json
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from batchot.errors import RunError
from batchot.search.confidence import Calibration
from batchot.search.encoder import load_encoder
from batchot.search.known_queries import read_queries
from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.map import read_map
from batchot.search.records import SearchError, record_id
from batchot.search.searcher import NEAR, same_proportions
from batchot.search.store import ShapeStore

_ROWS = 1024  # compared with all others at a time
_CLASSES = 12  # that are named


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
            "takes_photos": store.photo_dimensions > 0,
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
        shown = ", ".join(f"{name} {n:,}" for n, name in classes[:_CLASSES])
        lines.append(
            f"classes: {shown}"
            + (f" and {len(classes) - _CLASSES:,} more" if len(classes) > _CLASSES else "")
        )
    takes = ["shapes", *(kind for kind in ("drawings", "photos") if about[f"takes_{kind}"])]
    lines.append(f"made with {about['run']}; takes " + " and ".join(", ".join(takes).rsplit(", ", 1)))
    lines += [f"shapes of {root}" for root in about["roots"]]
    lines.append(f"stored in {about['store']}, created {about['created']}, changed {about['changed']}")
    if about["approximate"] is None:
        lines.append("search is exact")
    else:
        recall = about["approximate"]["recall"]
        lines.append(f"search is approximate; measured recall@10 {recall:.4f}")
    kinds = {"shape": "shapes", "drawing": "drawings"}
    for kind, values in about["calibrations"].items():
        lines.append(f"{kinds.get(kind, kind)}: {_in_words(Calibration.from_json(values))}")
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


@dataclass(frozen=True)
class Group:
    """Shapes that are the same, or nearly."""

    # "same file": read from the same bytes, by SHA-256; "nearly the same": by their embeddings
    what: Literal["same file", "nearly the same"]
    names: tuple[str, ...]  # of the shapes, in order
    distance: float  # the largest between the embeddings of two shapes that are linked; 0 for the same file


def duplicates(out: Path, *, threshold: float | None = None, allow_store: bool = False) -> list[Group]:
    r"""Find the shapes of an index that are there more than once."""
    index = IndexFolder(out)
    manifest = Manifest.read(index.manifest)
    if threshold is None:
        if manifest.spread is None:
            raise SearchError(f"{out} does not know how far its shapes are apart; give --threshold")
        threshold = NEAR * manifest.spread
    if not 0 <= threshold < float("inf"):
        raise ValueError(f"the threshold must be finite and not negative, got {threshold}")
    with ShapeStore.open(index.store_uri(manifest, allow=allow_store)) as store:
        ids, _, vectors = store.vectors()
        names, contents = store.names(), store.contents()
        cards = {
            id: json.loads(card)["size"]
            for batch in store.batches("id", "card")
            for id, card in zip(batch["id"].to_pylist(), batch["card"].to_pylist(), strict=True)
        }
    order = sorted(range(len(ids)), key=lambda k: names[ids[k]])
    of_content: dict[str, list[int]] = {}
    for k in order:
        of_content.setdefault(contents[ids[k]], []).append(k)
    same = [
        Group("same file", tuple(names[ids[k]] for k in members), 0.0)
        for members in of_content.values()
        if len(members) > 1
    ]
    first = [members[0] for members in of_content.values()]
    sizes = [tuple(cards[ids[k]]) for k in first]
    links = [
        (a, b, d)
        for a, b, d in _near_pairs(vectors[first], threshold)
        if same_proportions(sizes[a], sizes[b])
    ]
    near = _groups(links, [names[ids[k]] for k in first])
    return same + near


def _near_pairs(x: NDArray[np.float32], threshold: float) -> list[tuple[int, int, float]]:
    """Pairs at most so far apart, the first before the second."""
    pairs = []
    squares = np.einsum("nd,nd->n", x, x, dtype=np.float64)
    slack = 1e-4 * float(squares.max(initial=0.0))  # of float32: what passes is computed once more
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        squared = squares[start : start + _ROWS, None] + squares[None, start:] - 2.0 * (rows @ x[start:].T)
        for i, j in np.argwhere(squared <= threshold**2 + slack):
            a, b = start + int(i), start + int(j)
            if a < b and (d := float(np.linalg.norm(x[a].astype(np.float64) - x[b]))) <= threshold:
                pairs.append((a, b, d))
    return pairs


def _groups(links: list[tuple[int, int, float]], names: list[str]) -> list[Group]:
    if not links:
        return []
    a, b, distances = (np.array(column) for column in zip(*links, strict=True))
    n = len(names)
    _, label = connected_components(coo_array((np.ones(len(a)), (a, b)), (n, n)), directed=False)
    widest = np.zeros(label.max() + 1)
    np.maximum.at(widest, label[a], distances)
    members: dict[int, list[str]] = {}
    for k in sorted(set(a.tolist()) | set(b.tolist())):
        members.setdefault(int(label[k]), []).append(names[k])
    return [Group("nearly the same", tuple(group), float(widest[g])) for g, group in members.items()]


_NAMED = 5
_UNIT = 1e-3


def problems_of_store(store: ShapeStore, *, normalized: bool) -> list[str]:
    """Read every row of a store and test it."""
    found: dict[str, list[str]] = {}

    def note(what: str, name: str) -> None:
        found.setdefault(what, []).append(name)

    ids: Counter[str] = Counter()
    try:
        for batch in store.batches("id", "name", "vector", "thumbnail", "preview"):
            vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
            norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
            for k in range(len(batch)):
                id, name = batch.column("id")[k].as_py(), batch.column("name")[k].as_py()
                ids[id] += 1
                if id != record_id(name) and "\ufffd" not in name:
                    note("have an id that is not theirs", name)
                if not np.isfinite(norms[k]):
                    note("have an embedding that is not finite", name)
                elif normalized and abs(norms[k] - 1) > _UNIT:
                    note("have an embedding that is no unit vector", name)
                if not _is_picture(batch.column("thumbnail")[k].as_py()):
                    note("have a damaged thumbnail", name)
                if not _is_glb(batch.column("preview")[k].as_py()):
                    note("have a damaged preview", name)
        expected = len(store)
    except SearchError as error:
        return [str(error)]
    problems = []
    if sum(ids.values()) != expected:
        problems.append(f"{store.uri}: {sum(ids.values()):,} of {expected:,} shapes can be read")
    if twice := [id for id, count in ids.items() if count > 1]:
        problems.append(f"{store.uri}: {len(twice):,} shapes are there twice, such as {twice[0]}")
    for what, names in found.items():
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        problems.append(f"{store.uri}: {len(names):,} shapes {what}: {', '.join(names[:_NAMED])}{more}")
    return problems


def _is_picture(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def _is_glb(data: bytes) -> bool:
    if len(data) < 12:
        return False
    magic, version, length = struct.unpack_from("<4sII", data)
    return magic == b"glTF" and version == 2 and length == len(data)
