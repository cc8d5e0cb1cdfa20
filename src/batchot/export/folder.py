"""A run as a folder that is read without what trained it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from batchot.export.describe import Described, describe
from batchot.export.errors import ExportError
from batchot.export.loading import ARCHITECTURE, WEIGHTS, build_towers
from batchot.export.model_card import model_card
from batchot.export.onnx_file import OPSET, largest_difference, write_onnx
from batchot.export.tower import ExportedTower
from batchot.search.encoder import EXPORTED
from batchot.search.onnx_encoder import FORMAT
from batchot.shapes.extra import require
from batchot.training.loading import load_run

Format = Literal["onnx", "safetensors"]
TOLERANCE = 1e-4
"""Largest difference of a number of an embedding between ONNX and the run with which an export is kept."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: in which it lies
        files: names and sizes in bytes
        differences: largest difference of an embedding by onnxruntime and by torch, for each tower
    """

    folder: Path
    files: dict[str, int]
    differences: dict[str, float]


def export_run(
    run: Path,
    out: Path,
    *,
    formats: Sequence[Format] = ("onnx", "safetensors"),
    checkpoint: Literal["last", "best"] = "last",
    force: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write a trained network as ONNX and safetensors with a model card, whole or not at all.

    Args:
        run: run folder of ``batchot train``
        out: folder to write
        formats: which of the two
        checkpoint: "last", whose measures are in metrics.json, or "best"
        force: replace an older export in `out`
        tell: told in sentences what is done

    Returns:
        What was written; the ONNX files have been run, and give the embeddings of the run.

    Raises:
        ExportError: `out` is in use, the network cannot be written, or gives other embeddings
        RunError: there is no run, or it is damaged
        MissingExtraError: a package of the extra "export" is not installed
    """
    if not formats:
        raise ExportError("no format is left to export to; give onnx, safetensors or both")
    _check_free(out, force)
    embedder = load_run(run, checkpoint=checkpoint)
    described = describe(embedder, run)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / "whole"
        folder.mkdir()
        differences: dict[str, float] = {}
        towers: dict[str, dict[str, Any]] = {}
        for name, tower in build_towers(described.architecture, described.weights).items():
            about: dict[str, Any] = {
                "takes": tower.about.takes,
                "shape": list(tower.about.input_shape),
                "onnx": None,
            }
            if "onnx" in formats:
                tell(f"writing {name}.onnx")
                about |= _onnx(tower, folder, described)
                differences[name] = about["largest_difference"]
            towers[name] = about
        _write_json(folder / ARCHITECTURE, described.architecture.to_json())
        if "safetensors" in formats:
            save = require("safetensors.torch", "export").save_file
            save(described.weights, folder / WEIGHTS, metadata=_metadata(described))
        about_all = _about(described, towers)
        _write_json(folder / EXPORTED, about_all)
        card = model_card(embedder, run, described, about_all, checkpoint)
        (folder / "README.md").write_text(card, encoding="utf-8")
        _put_in_place(folder, out)
    files = {file.name: file.stat().st_size for file in sorted(out.iterdir())}
    return Exported(out, files, differences)


def _check_free(out: Path, force: bool) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if not out.exists():
        return
    if not (out / EXPORTED).is_file():  # nothing of anybody else is ever deleted
        raise ExportError(f"{out} is there already and is no export; give another --out")
    if not force:
        raise ExportError(f"{out} holds an export already; add --force to replace it, or give another --out")


def _onnx(tower: ExportedTower, folder: Path, described: Described) -> dict[str, Any]:
    file = folder / f"{tower.about.name}.onnx"
    written = write_onnx(tower, file, metadata=_metadata(described) | {"batchot.takes": tower.about.takes})
    difference = largest_difference(tower, file)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{file.name}: onnxruntime gives embeddings that differ by {difference:.2g} from those of the run; "
            "export it with --format safetensors, and report this with the recipe"
        )
    return {
        "onnx": file.name,
        "sha256": {part.name: _sha256(part) for part in written},
        "largest_difference": difference,
    }


def _metadata(described: Described) -> dict[str, str]:
    return {
        "batchot.fingerprint": described.fingerprint,
        "batchot.classes": json.dumps(described.architecture.classes, ensure_ascii=False),
        "batchot.inputs": json.dumps(None if described.inputs is None else described.inputs.to_json()),
        "batchot.version": version("batchot"),
    }


def _about(described: Described, towers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    architecture = described.architecture
    return {
        "format": FORMAT,
        "fingerprint": described.fingerprint,
        "dimensions": architecture.dimensions,
        "normalized": architecture.normalized,
        "classes": list(architecture.classes),
        "inputs": None if described.inputs is None else described.inputs.to_json(),
        "shape": described.shape,
        "drawing": described.drawing,
        "towers": towers,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("batchot", "torch")} | {"opset": OPSET},
    }


def _write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename the folder to what was asked for, and what was there before out of the way first."""
    if out.exists():
        old = folder.with_name("old")
        out.rename(old)
        try:
            folder.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old)
    else:
        folder.rename(out)
