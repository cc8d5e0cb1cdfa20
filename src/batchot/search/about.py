"""What is wrong with an index, and what is in it more than once."""

from __future__ import annotations

import io
import json
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.records import SearchError, record_id
from batchot.search.searcher import NEAR, same_proportions
from batchot.search.store import ShapeStore

_ROWS = 1024  # compared with all others at a time


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
