"""Embed queries with the network of a run."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from batchot.data.cloud_reading import CloudSettings
from batchot.device import Device, accelerator_of
from batchot.errors import RunError
from batchot.search.encoder import fingerprint_of
from batchot.search.prepare import CloudInput, DrawingInput, Inputs, ViewsInput
from batchot.search.records import SearchError
from batchot.training.checkpoint import read_checkpoint
from batchot.training.cross_trained import CrossModalEmbedder
from batchot.training.files import RunFolder, write_bytes
from batchot.training.inputs import renders, sketch_size, view_settings
from batchot.training.loading import load_run

if TYPE_CHECKING:
    from batchot.training.recipe import Recipe
    from batchot.training.trained import TrainedEmbedder

_NEEDED = ("state_dict", "classes", "input_shape", "mean", "std", "normalized", "towers")
_NETWORK = "network."


def save_slim(run: Path, to: Path) -> None:
    """Copy settings, measures and weights of a run, so that the copy loads like the run."""
    source, target = RunFolder(run), RunFolder(to)
    if not source.config.is_file():
        raise RunError(f"{run} is no run folder: it has no config.yaml")
    saved = read_checkpoint(source.last)
    kept = {name: saved[name] for name in _NEEDED if name in saved}
    kept["state_dict"] = {k: v for k, v in kept["state_dict"].items() if k.startswith(_NETWORK)}
    file = io.BytesIO()
    torch.save(kept, file)
    write_bytes(target.last, file.getvalue())
    if source.metrics.is_file():
        write_bytes(target.metrics, source.metrics.read_bytes())
    write_bytes(target.config, source.config.read_bytes())  # last: with it the folder is a run


_AT_ONCE = 64


class RunEncoder:
    """A run, loaded to embed shapes and, where it has a tower for them, drawings."""

    def __init__(self, embedder: TrainedEmbedder | CrossModalEmbedder, path: Path) -> None:
        self.embedder, self.path = embedder, path
        self.inputs, self._shapes, self._drawings = _parts(embedder, path)
        self.dimensions: int = embedder.embedding_dim
        self.normalized: bool = embedder.normalized
        self.classes: tuple[str, ...] = embedder.classes
        network: nn.Module = embedder.network
        weights = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
        self.fingerprint: str = fingerprint_of(weights, self.inputs)

    @classmethod
    def open(cls, path: Path, device: Device = "auto") -> Self:
        """Load a run."""
        return cls(load_run(path, accelerator_of(device)), path)

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes, see `batchot.search.encoder.Encoder`."""
        return _embed(self._shapes, samples, self.dimensions)

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, see `batchot.search.encoder.Encoder`."""
        if self._drawings is None:
            raise SearchError(
                f"{self.path} takes no drawings; train a run with sketches (batchot train sketch-folder)"
            )
        return _embed(self._drawings, samples, self.dimensions)


def _embed(network: Callable[[Tensor], Tensor], samples: NDArray, d: int) -> NDArray[np.float32]:
    if len(samples) == 0:  # networks take no empty batch
        return np.zeros((0, d), np.float32)
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(np.array(samples[start : start + _AT_ONCE]))).float().cpu()
            for start in range(0, len(samples), _AT_ONCE)
        ]
    return torch.cat(parts).numpy()


def _parts(
    embedder: TrainedEmbedder | CrossModalEmbedder, path: Path
) -> tuple[Inputs, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]:
    if not isinstance(embedder, CrossModalEmbedder):
        recipe = embedder.recipe
        if not recipe.data.shapes:
            raise SearchError(
                f"{path} was trained on images ({recipe.data.name}); an index of shapes needs a run on shapes"
            )
        return Inputs(_shape_input(recipe)), embedder, None
    towers = embedder.recipe.towers
    target, query = embedder.recipe.target, embedder.recipe.query
    if not towers[target].data.shapes:
        raise SearchError(
            f"{path}: its gallery, {target}, is not of shapes; an index of shapes needs such a run"
        )
    drawn = query if towers[query].data.drawn else None
    inputs = Inputs(
        _shape_input(towers[target]), None if drawn is None else DrawingInput(sketch_size(towers[drawn]))
    )
    by_query = None if drawn is None else (lambda samples: embedder(drawn, samples))
    return inputs, (lambda samples: embedder(target, samples)), by_query


def _shape_input(recipe: Recipe) -> ViewsInput | CloudInput:
    if renders(recipe):
        return ViewsInput(view_settings(recipe))
    return CloudInput(CloudSettings(recipe.shapes.points, too_few="repeat"))
