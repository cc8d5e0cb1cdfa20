"""Queries whose class is known, by which an index is calibrated: test items of the run that it was built with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchot.errors import RunError
from batchot.files import DAMAGED_ARCHIVE, RunFolder, write_atomically
from batchot.search.confidence import Calibration, calibrate
from batchot.search.records import SearchError
from batchot.towers.saved import read_archive, settings_of
from batchot.towers.spec import SKETCH_SETS

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("shape", "drawing")
_MOST = 4000


@dataclass(frozen=True, eq=False)
class KnownQueries:
    """Embeddings of one kind of query, and what they show."""

    vectors: NDArray[np.float32]  # (q, d)
    classes: tuple[str, ...]  # of each
    source: str  # what they are, in words


def queries_of_run(run: Path) -> dict[str, KnownQueries]:
    """Give the test items that a run has left, as far as its network was not trained on them."""
    found = {}
    try:
        settings = settings_of(run)
        if "towers" not in settings:
            with read_archive(RunFolder(run).items) as (about, arrays):
                return {"shape": _queries(about, arrays, "", "test shapes of the run")}
        first = next(iter(settings["towers"].values()))
        with read_archive(RunFolder(run).cross_items) as (about, arrays):
            if first["data"]["name"] in SKETCH_SETS:
                found["drawing"] = _queries(about, arrays, "query_", "test drawings of the run")
            if settings.get("together", {}).get("gallery") == "test":
                found["shape"] = _queries(about, arrays, "gallery_", "test shapes of the run")
    except RunError:  # a run that was stopped before its first evaluation, or an exported one
        return {}
    return found


def _queries(about: Mapping[str, Any], arrays: Mapping[str, Tensor], side: str, source: str) -> KnownQueries:
    vectors, labels = (arrays[f"{side}{name}"].numpy() for name in ("embeddings", "labels"))
    classes = about["classes"]
    chosen = np.arange(len(labels))
    if len(chosen) > _MOST:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, _MOST, replace=False))
    return KnownQueries(
        np.asarray(vectors[chosen], np.float32), tuple(classes[k] for k in labels[chosen].tolist()), source
    )


def save_queries(path: Path, queries: Mapping[str, KnownQueries]) -> None:
    """Keep queries in a file, so that an index that has grown can be calibrated again."""
    arrays: dict[str, NDArray] = {}
    for kind, known in queries.items():
        arrays |= {
            f"{kind}_vectors": known.vectors,
            f"{kind}_classes": np.array(known.classes),
            f"{kind}_source": np.array(known.source),
        }
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_queries(path: Path) -> dict[str, KnownQueries]:
    """Read what `save_queries` wrote; nothing where there is no such file."""
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            return {
                kind: KnownQueries(
                    file[f"{kind}_vectors"],
                    tuple(file[f"{kind}_classes"].tolist()),
                    str(file[f"{kind}_source"]),
                )
                for kind in KINDS
                if f"{kind}_vectors" in file.files
            }
    except DAMAGED_ARCHIVE as error:
        raise SearchError(f"{path} is damaged ({error}); delete it and build the index again") from error


def calibrations_of(
    queries: Mapping[str, KnownQueries], vectors: NDArray[np.float32], classes: list[str]
) -> dict[str, Calibration]:
    """Calibrate an index for each kind of query."""
    found = {}
    for kind, known in queries.items():
        result = calibrate(known.vectors, known.classes, vectors, classes, source=known.source)
        if result is not None:
            found[kind] = result
    if "shape" not in found:
        itself = calibrate(
            vectors,
            classes,
            vectors,
            classes,
            source="the shapes of the index, each without itself",
            optimistic=True,  # the network may have been trained on them
            same=np.arange(len(vectors)),
        )
        if itself is not None:
            found["shape"] = itself
    return found
