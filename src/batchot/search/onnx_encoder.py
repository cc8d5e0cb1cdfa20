"""An exported network as an encoder, with onnxruntime and without torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from batchot.errors import require
from batchot.search.encoder import EXPORTED
from batchot.search.prepare import Inputs
from batchot.search.records import SearchError

FORMAT = 1
"""Changed when an older package could not read what is written into batchot.json."""
_AT_ONCE = 64
_NUMBERS_AT_ONCE = 1 << 24  # of samples, or of the distances between their points: bounds the memory


class OnnxEncoder:
    """A folder of ``batchot export``."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        try:
            if about["format"] != FORMAT:
                raise SearchError(f"{path / EXPORTED} is of another version of batchot; export the run again")
            if about["shape"] is None or about["inputs"] is None:
                raise SearchError(f"{path} was trained on images; an index of shapes needs a run on shapes")
            self.path = path
            self.inputs = Inputs.from_json(about["inputs"])
            self.dimensions = int(about["dimensions"])
            self.normalized = bool(about["normalized"])
            self.classes = tuple(str(name) for name in about["classes"])
            self.fingerprint = str(about["fingerprint"])
            towers: Mapping[str, Any] = about["towers"]
            self._shapes = _tower(path, towers[about["shape"]])
            self._drawings = None if about["drawing"] is None else _tower(path, towers[about["drawing"]])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SearchError(f"{path / EXPORTED} is damaged ({error}); export the run again") from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """Load an exported network."""
        try:
            about = json.loads((path / EXPORTED).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SearchError(f"{path / EXPORTED} cannot be read ({error}); export the run again") from error
        return cls(path, about)

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes, see `batchot.search.encoder.Encoder`."""
        return _embed(self._shapes, samples, self.dimensions)

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, see `batchot.search.encoder.Encoder`."""
        if self._drawings is None:
            raise SearchError(f"{self.path} takes no drawings; export a run that was trained with sketches")
        return _embed(self._drawings, samples, self.dimensions)


def _embed(network: Callable[[NDArray], NDArray], samples: NDArray, d: int) -> NDArray[np.float32]:
    if len(samples) == 0:  # networks take no empty batch
        return np.zeros((0, d), np.float32)
    size = samples.shape[1] ** 2 if samples.ndim == 3 else math.prod(samples.shape[1:])
    at_once = max(1, min(_AT_ONCE, _NUMBERS_AT_ONCE // max(1, size)))
    starts = range(0, len(samples), at_once)
    return np.concatenate([network(samples[start : start + at_once]) for start in starts])


def _tower(path: Path, tower: Mapping[str, Any]) -> Callable[[NDArray], NDArray[np.float32]]:
    if tower["onnx"] is None:
        raise SearchError(f"{path} was exported without ONNX; export the run again with --format onnx")
    for name, wanted in tower["sha256"].items():
        _check(path / Path(name).name, wanted)
    file = path / Path(tower["onnx"]).name
    runtime = require("onnxruntime", "export")
    try:
        session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but this
        raise SearchError(
            f"onnxruntime cannot load {file} ({str(error).splitlines()[0]}); update it, or export the run again"
        ) from error
    source = session.get_inputs()[0].name

    def run(samples: NDArray) -> NDArray[np.float32]:
        return np.asarray(session.run(["embedding"], {source: np.ascontiguousarray(samples)})[0])

    return run


def _check(file: Path, wanted: str) -> None:
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise SearchError(
            f"{file} cannot be read ({error.strerror or error}); export the run again"
        ) from error
    if digest != wanted:
        raise SearchError(f"{file} is not the file that was exported; export the run again")
