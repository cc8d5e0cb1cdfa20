"""What a report is made from, kept in the run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from batchot.files import RunFolder
from batchot.losses import BatchOTSettings
from batchot.reporting.cross_material import CrossModalMaterial, Items
from batchot.reporting.history import read_history
from batchot.reporting.material import ReportMaterial, shrink
from batchot.towers.items import cross_material_file, material_file, read_archive, write_archive
from batchot.training.plan_history import read_plans

_TEXTS = ("title", "about", "predicted_by", "items")


def save_material(root: Path, material: ReportMaterial) -> Path:
    """Write the test items into a run folder: embeddings, labels, names and thumbnails of at most 96 pixels."""
    arrays = {
        "embeddings": material.embeddings,
        "labels": material.labels,
        "thumbnails": shrink(material.thumbnails),
    }
    optional = {"logits": material.logits, "predictions": material.predictions}
    arrays |= {name: value for name, value in optional.items() if value is not None}
    about = described(material, _TEXTS) | {"names": material.names}
    path = material_file(root)
    write_archive(path, arrays, about)
    return path


def described(material: ReportMaterial | CrossModalMaterial, texts: Sequence[str]) -> dict[str, Any]:
    """Describe material of any kind in what JSON can hold: texts by name of the field, classes, and the loss."""
    return {name: getattr(material, name) for name in texts} | {
        "classes": material.classes,
        "normalized": material.normalized,
        "loss": None if material.loss is None else dataclasses.asdict(material.loss),
    }


def read_described(root: Path, about: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Give the fields that `described` has kept, with the history and the settings that lie in the run folder."""
    folder, loss = RunFolder(root), about["loss"]
    return {name: about[name] for name in texts} | {
        "config": folder.config.read_text(encoding="utf-8") if folder.config.is_file() else "",
        "rows": read_history(folder.history),
        "classes": tuple(about["classes"]),
        "normalized": bool(about["normalized"]),
        "loss": None if loss is None else BatchOTSettings(**loss),
    }


def load_material(root: Path) -> ReportMaterial:
    """Read the material of a report from a run folder."""
    with read_archive(material_file(root)) as (about, arrays):
        names = None if about["names"] is None else tuple(about["names"])
        return ReportMaterial(
            **(read_described(root, about, _TEXTS) | arrays),
            names=names,
            plans=read_plans(RunFolder(root).plans),
        )


_CROSS_TEXTS = ("title", "about", "query_name", "gallery_name")
_SIDES = ("query", "gallery")


def save_cross_material(root: Path, material: CrossModalMaterial) -> Path:
    """Write queries and gallery into a run folder: embeddings, labels, names and thumbnails of at most 96 pixels."""
    arrays: dict[str, Tensor] = {}
    about = described(material, _CROSS_TEXTS)
    for side in _SIDES:
        items: Items = getattr(material, side)
        arrays[f"{side}_embeddings"] = items.embeddings
        arrays[f"{side}_labels"] = items.labels
        arrays[f"{side}_thumbnails"] = shrink(items.thumbnails)
        about[f"{side}_names"] = items.names
    path = cross_material_file(root)
    write_archive(path, arrays, about)
    return path


def load_cross_material(root: Path) -> CrossModalMaterial:
    """Read the material of a cross-modal report from a run folder."""
    with read_archive(cross_material_file(root)) as (about, arrays):
        names = {side: about[f"{side}_names"] for side in _SIDES}
        query, gallery = (
            Items(
                arrays[f"{side}_embeddings"],
                arrays[f"{side}_labels"],
                arrays[f"{side}_thumbnails"],
                None if names[side] is None else tuple(names[side]),
            )
            for side in _SIDES
        )
        return CrossModalMaterial(**read_described(root, about, _CROSS_TEXTS), query=query, gallery=gallery)
