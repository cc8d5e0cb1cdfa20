"""An exported network as an encoder, with onnxruntime and without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from batchot.search.encoder import EXPORTED
from batchot.search.errors import SearchError
from batchot.search.extra import require
from batchot.search.inputs import Inputs

_AT_ONCE = 64
FORMAT = 1


class OnnxEncoder:
    """A folder of ``batchot export``.

    Args:
        path: of the folder
        about: content of its batchot.json
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        try:
            if about["format"] != FORMAT:
                raise SearchError(f"{path / EXPORTED} is of another version of batchot; export the run again")
            self.path = path
            self.inputs = Inputs.from_json(about["inputs"])
            self.dimensions = int(about["dimensions"])
            self.normalized = bool(about["normalized"])
            self.classes = tuple(str(name) for name in about["classes"])
            self.fingerprint = str(about["fingerprint"])
            towers: Mapping[str, Any] = about["towers"]
            self._shapes = _tower(path, towers["shape"])
            self._drawings = _tower(path, towers["drawing"]) if towers.get("drawing") is not None else None
        except (KeyError, TypeError, ValueError) as error:
            raise SearchError(f"{path / EXPORTED} is damaged ({error}); export the run again") from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """Load an exported network.

        Args:
            path: folder of ``batchot export``

        Raises:
            SearchError: it holds no ONNX files, or is damaged
            MissingExtraError: onnxruntime is not installed
        """
        try:
            about = json.loads((path / EXPORTED).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SearchError(f"{path / EXPORTED} cannot be read ({error}); export the run again") from error
        return cls(path, about)

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes, see `batchot.search.encoder.Encoder`."""
        return _embed(self._shapes, samples)

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, see `batchot.search.encoder.Encoder`.

        Raises:
            SearchError: the network takes none
        """
        if self._drawings is None:
            raise SearchError(f"{self.path} takes no drawings; export a run that was trained with sketches")
        return _embed(self._drawings, samples)


def _embed(network: Callable[[NDArray], NDArray], samples: NDArray) -> NDArray[np.float32]:
    parts = [network(samples[start : start + _AT_ONCE]) for start in range(0, len(samples), _AT_ONCE)]
    return np.concatenate(parts).astype(np.float32, copy=False)


def _tower(path: Path, tower: Mapping[str, Any]) -> Callable[[NDArray], NDArray]:
    if tower["onnx"] is None:
        raise SearchError(f"{path} was exported without ONNX; export it with --format onnx")
    file = path / Path(tower["onnx"]).name
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise SearchError(
            f"{file} cannot be read ({error.strerror or error}); export the run again"
        ) from error
    if digest != tower["sha256"]:
        raise SearchError(f"{file} is not the file that was exported; export the run again")
    runtime = require("onnxruntime", "export")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    projection = tower.get("projection")
    name = session.get_inputs()[0].name

    def run(samples: NDArray) -> NDArray:
        ready = samples if projection is None else _projected(samples, projection)
        return np.asarray(session.run(["embedding"], {name: np.ascontiguousarray(ready)})[0])

    return run


def _projected(points: NDArray, projection: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Depth views (b, v, 1, h, w) of clouds (b, p, 3), as the network of the run sees them."""
    from batchot.shapes.cameras import make_cameras
    from batchot.shapes.splat import splat_depth

    cameras = make_cameras(projection["cameras"])
    images = splat_depth(
        points,
        cameras.rotations,
        distance=cameras.distance,
        extent=cameras.extent * (1 + projection["margin"]),
        size=projection["size"],
        radius=projection["radius"],
    )
    return images[:, :, None]
