"""What an index holds, and what is wrong with it, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchot.search.calibration import Calibration
from batchot.search.encoder import load_encoder
from batchot.search.errors import SearchError
from batchot.search.known_queries import read_queries
from batchot.search.manifest import IndexFolder, Manifest
from batchot.search.map_file import read_map
from batchot.search.store import ShapeStore
from batchot.search.store_check import problems_of_store
from batchot.training.files import RunError

_NAMED = 12


def describe(out: Path, *, allow_store: bool = False) -> dict[str, Any]:
    """Give what an index holds, as JSON can hold it.

    Args:
        out: its folder
        allow_store: see `batchot.search.manifest.IndexFolder.store_uri`

    Raises:
        SearchError: there is no index, or it is damaged
    """
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
    """Give what an index holds, in lines of text.

    Args:
        out: its folder
        allow_store: see `describe`

    Raises:
        SearchError: there is no index, or it is damaged
    """
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
    """Read all of an index and say what is wrong with it.

    Args:
        out: its folder
        allow_store: see `describe`

    Returns:
        A sentence for each problem; none where it is sound.

    Raises:
        SearchError: there is no index at all
    """
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
