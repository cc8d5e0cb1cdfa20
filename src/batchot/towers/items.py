"""What a finished run leaves of the samples it was measured on: embeddings, labels, names, small pictures."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from batchot.errors import RunError
from batchot.files import write_atomically

_FORMAT = 1


def material_file(root: Path) -> Path:
    """Give where the test items of a run with one tower lie."""
    return root / "test_items.npz"


def cross_material_file(root: Path) -> Path:
    """Give where the queries and the gallery of a run with several towers lie."""
    return root / "cross_items.npz"


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
