"""The material of a report in a run folder, so that the page can be made again without the data."""

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

from batchot.losses import BatchOTSettings
from batchot.reporting.cross_material import CrossModalMaterial
from batchot.reporting.history import read_history
from batchot.reporting.material import ReportMaterial, shrink
from batchot.training.files import RunError, RunFolder, write_atomically
from batchot.training.plan_history import read_plans

_FORMAT = 1
_TEXTS = ("title", "about", "predicted_by", "items")


def material_file(root: Path) -> Path:
    """Give where the test items of a run lie.

    >>> material_file(Path("runs/a")).name
    'test_items.npz'
    """
    return root / "test_items.npz"


def save_material(root: Path, material: ReportMaterial) -> Path:
    """Write the test items into a run folder: embeddings, labels, names and thumbnails of at most 96 pixels.

    The history and the settings are in the folder already, as history.csv and config.yaml.

    Args:
        root: run folder
        material: what the report is made from

    Returns:
        The file, test_items.npz; it is whole or as it was before.

    Raises:
        RunError: the disk is full or not writable
    """
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
    """Write tensors and a description of them into one npz file.

    Args:
        path: file, which is whole afterwards or as it was before
        arrays: tensors by name; none is called "about"
        about: what JSON can hold

    Raises:
        RunError: the disk is full or not writable
    """
    content = json.dumps({**about, "format": _FORMAT}, ensure_ascii=False)
    text = np.frombuffer(content.encode(), dtype=np.uint8)

    def write(file: IO[bytes]) -> None:
        kept: dict[str, Any] = {name: _array(value) for name, value in arrays.items()}
        np.savez_compressed(file, about=text, **kept)

    write_atomically(path, write)


@contextmanager
def read_archive(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Read what `write_archive` has written; what goes wrong while it is used is told as damage of the file.

    Args:
        path: file in a run folder

    Yields:
        The description, and the tensors by name.

    Raises:
        RunError: there is no such folder or file, or it is damaged or of another version
    """
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
    """Read the material of a report from a run folder.

    Args:
        root: run folder that `save_material` has written into

    Returns:
        What was saved, with the history and the settings that lie beside it.

    Raises:
        RunError: there is no such folder or file, or it is damaged
    """
    with read_archive(material_file(root)) as (about, arrays):
        names = None if about["names"] is None else tuple(about["names"])
        return ReportMaterial(
            **(read_described(root, about, _TEXTS) | arrays),
            names=names,
            plans=read_plans(RunFolder(root).plans),
        )
