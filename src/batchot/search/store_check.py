"""All of a store read and tested."""

from __future__ import annotations

import io
import struct
from collections import Counter

import numpy as np
from PIL import Image

from batchot.search.records import SearchError, record_id
from batchot.search.store import ShapeStore

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
