"""What a report is made from, kept in the run folder."""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from batchot.errors import RunError
from batchot.losses import BatchOTSettings
from batchot.reporting.cross_material import CrossModalMaterial, Items
from batchot.reporting.history import read_history
from batchot.reporting.material import ReportMaterial, shrink
from batchot.training.files import RunFolder, write_atomically
from batchot.training.plan_history import read_plans

_FORMAT = 1
_TEXTS = ("title", "about", "predicted_by", "items")


def material_file(root: Path) -> Path:
    """Give where the test items of a run lie."""
    return root / "test_items.npz"


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


def write_archive(path: Path, arrays: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a description of them into one npz file."""
    content = json.dumps({**about, "format": _FORMAT}, ensure_ascii=False)
    text = np.frombuffer(content.encode(), dtype=np.uint8)

    def write(file: IO[bytes]) -> None:
        kept: dict[str, Any] = {name: _array(value) for name, value in arrays.items()}
        np.savez_compressed(file, about=text, **kept)

    write_atomically(path, write)


@contextmanager
def read_archive(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Read what `write_archive` has written; what goes wrong while it is used is told as damage of the file."""
    root = path.parent
    if not path.is_file():
        what = f"{root} has no {path.name}" if root.is_dir() else f"there is no folder {root}"
        raise RunError(f"{what}: a report is made from the test items that a finished run leaves there")
    try:
        with np.load(path, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(file["about"].tobytes().decode())
            arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != "about"}
        if about["format"] != _FORMAT:
            raise RunError(
                f"{path} is of format {about['format']}, this version of batchot reads {_FORMAT}; "
                "use the version that trained the run"
            )
        yield about, arrays
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path} is damaged ({error}); evaluate or train the run again") from error


def _array(value: Tensor) -> np.ndarray:
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).numpy()  # numpy has no bfloat16


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


def cross_material_file(root: Path) -> Path:
    """Give where the queries and the gallery of a cross-modal run lie."""
    return root / "cross_items.npz"


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
