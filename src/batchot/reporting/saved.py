"""What a report is made from, kept in the run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from batchot.files import RunFolder
from batchot.losses import BatchOTSettings
from batchot.reporting.history import read_history
from batchot.reporting.material import Items, ReportMaterial, shrink
from batchot.towers.items import cross_material_file, material_file, read_archive, write_archive
from batchot.training.plan_history import read_plans

_TEXTS = ("title", "about", "predicted_by", "items")
_ACROSS = ("title", "about", "query_name", "gallery_name")


def save_material(root: Path, material: ReportMaterial) -> Path:
    """Write the test items into a run folder: embeddings, labels, names and thumbnails of at most 96 pixels."""
    across = material.gallery is not None
    about: dict[str, Any] = {name: getattr(material, name) for name in (_ACROSS if across else _TEXTS)}
    about |= {
        "classes": material.classes,
        "normalized": material.normalized,
        "loss": None if material.loss is None else dataclasses.asdict(material.loss),
    }
    if across:
        path, sides = cross_material_file(root), {"query_": material.query, "gallery_": material.sought}
    else:
        path, sides = material_file(root), {"": material.query}
    arrays: dict[str, Tensor] = {}
    for side, items in sides.items():
        arrays[f"{side}embeddings"], arrays[f"{side}labels"] = items.embeddings, items.labels
        arrays[f"{side}thumbnails"] = shrink(items.thumbnails)
        about[f"{side}names"] = items.names
    if not across:
        optional = {"logits": material.logits, "predictions": material.predictions}
        arrays |= {name: value for name, value in optional.items() if value is not None}
    write_archive(path, arrays, about)
    return path


def load_material(root: Path) -> ReportMaterial:
    """Read the material of a report from a run folder."""
    across = cross_material_file(root).is_file()
    path = cross_material_file(root) if across else material_file(root)
    with read_archive(path) as (about, arrays):
        folder, loss = RunFolder(root), about["loss"]
        fields: dict[str, Any] = {name: about[name] for name in (_ACROSS if across else _TEXTS)} | {
            "config": folder.config.read_text(encoding="utf-8") if folder.config.is_file() else "",
            "rows": read_history(folder.history),
            "classes": tuple(about["classes"]),
            "normalized": bool(about["normalized"]),
            "loss": None if loss is None else BatchOTSettings(**loss),
        }
        if not across:
            return ReportMaterial(
                **(fields | arrays), names=_names(about, ""), plans=read_plans(folder.plans)
            )
        query, gallery = (_side(about, arrays, side) for side in ("query_", "gallery_"))
        return ReportMaterial(**fields, **query, gallery=Items(**gallery))


def _side(about: Mapping[str, Any], arrays: Mapping[str, Tensor], side: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: arrays[f"{side}{name}"] for name in ("embeddings", "labels", "thumbnails")}
    return found | {"names": _names(about, side)}


def _names(about: Mapping[str, Any], side: str) -> tuple[str, ...] | None:
    names = about[f"{side}names"]
    return None if names is None else tuple(names)
