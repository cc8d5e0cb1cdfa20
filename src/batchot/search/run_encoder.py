"""The network of a run folder as an encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from batchot.data.cloud_reading import CloudSettings
from batchot.search.encoder import fingerprint_of
from batchot.search.errors import SearchError
from batchot.search.inputs import CloudInput, DrawingInput, Inputs, ViewsInput
from batchot.training.cross_trained import CrossModalEmbedder
from batchot.training.device import Device, accelerator_of
from batchot.training.inputs import renders, sketch_size, view_settings
from batchot.training.loading import load_run

if TYPE_CHECKING:
    from batchot.training.recipe import Recipe
    from batchot.training.trained import TrainedEmbedder

_AT_ONCE = 64


class RunEncoder:
    """A run, loaded to embed shapes and, where it has a tower for them, drawings.

    Args:
        embedder: the network of a run
        path: of the run, for messages

    Raises:
        SearchError: it was not trained on shapes
    """

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
        """Load a run.

        Args:
            path: run folder
            device: "auto" takes a GPU if there is one

        Raises:
            RunError: there is no run, or its checkpoint is damaged
            SearchError: it was not trained on shapes
        """
        return cls(load_run(path, accelerator_of(device)), path)

    def shapes(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed shapes, see `batchot.search.encoder.Encoder`."""
        return _embed(self._shapes, samples, self.dimensions)

    def drawings(self, samples: NDArray) -> NDArray[np.float32]:
        """Embed drawings, see `batchot.search.encoder.Encoder`.

        Raises:
            SearchError: the run has no tower for drawings
        """
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
