"""From the network of a run to what it is built of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from batchot.data import Preparation
from batchot.data.projection import Splat
from batchot.export.architecture import Architecture, Projection, Takes, TowerArchitecture
from batchot.models.huggingface import HuggingFaceBackbone
from batchot.search.encoder import fingerprint_of
from batchot.search.errors import SearchError
from batchot.search.inputs import Inputs
from batchot.search.run_encoder import RunEncoder
from batchot.training.cross_trained import CrossModalEmbedder
from batchot.training.inputs import renders
from batchot.training.network import Network, backbone_of
from batchot.training.recipe import LossSettings, Recipe
from batchot.training.trained import TrainedEmbedder

SINGLE = "model"
"""Name of the only network of a run without towers."""


@dataclass(frozen=True, eq=False)
class Described:
    """A run as it is exported.

    Args:
        architecture: of its networks
        weights: by name, each tensor with memory of its own
        inputs: how shapes and drawings are made ready; None: it was not trained on shapes
        fingerprint: see `batchot.search.encoder.Encoder`
        shape: name of the network of shapes, if any
        drawing: name of the network of drawings that are looked up among the shapes, if any
    """

    architecture: Architecture
    weights: dict[str, Tensor]
    inputs: Inputs | None
    fingerprint: str
    shape: str | None
    drawing: str | None


def describe(embedder: TrainedEmbedder | CrossModalEmbedder, run: Path) -> Described:
    """Say what the networks of a run are built of.

    Args:
        embedder: of the run, on the CPU
        run: its folder, for messages
    """
    flip = embedder.recipe.evaluation.flip
    if isinstance(embedder, CrossModalEmbedder):
        loss, network = embedder.recipe.loss, embedder.network
        towers = tuple(
            _tower(name, f"towers.{name}.", recipe, network.tower(name), embedder.preparations[name], flip)
            for name, recipe in embedder.recipe.towers.items()
        )
    else:
        loss = embedder.recipe.loss
        only = (SINGLE, "", embedder.recipe, embedder.network, embedder.preparation)
        towers = (_tower(*only, flip),)
    architecture = Architecture(
        classes=embedder.classes,
        dimensions=embedder.embedding_dim,
        normalized=embedder.normalized,
        head=_head(embedder.network.head, loss),
        head_scale=loss.head_scale,
        towers=towers,
    )
    # Towers that share weights hold the same memory, which safetensors refuses to write twice.
    weights = {
        name: value.detach().clone().contiguous() for name, value in embedder.network.state_dict().items()
    }
    try:
        encoder = RunEncoder(embedder, run)
    except SearchError:  # of images: nothing that an index of shapes could use, and an export all the same
        arrays = {name: value.numpy() for name, value in weights.items()}
        return Described(architecture, weights, None, fingerprint_of(arrays, None), None, None)
    shape, drawing = SINGLE, None
    if isinstance(embedder, CrossModalEmbedder):
        shape = embedder.recipe.target
        drawing = None if encoder.inputs.drawing is None else embedder.recipe.query
    return Described(architecture, weights, encoder.inputs, encoder.fingerprint, shape, drawing)


def _head(head: nn.Module | None, loss: LossSettings) -> Literal["linear", "cosine"] | None:
    return None if head is None else loss.head


def _tower(
    name: str,
    prefix: str,
    recipe: Recipe,
    network: Network,
    preparation: Preparation,
    flip: bool,
) -> TowerArchitecture:
    model, pixels, splat = recipe.model, preparation.normalization, preparation.projection
    backbone, config = _backbone(network, model.backbone)
    takes, shape = _samples(recipe, network)
    return TowerArchitecture(
        name=name,
        prefix=prefix,
        takes=takes,
        input_shape=shape,
        network=model.name,
        widths=model.widths,
        activation=model.activation,
        batch_norm=model.batch_norm,
        channels=model.channels,
        backbone=backbone,
        backbone_config=config,
        pooling=model.pooling,
        mean=() if pixels is None else pixels.mean,
        std=() if pixels is None else pixels.std,
        projection=(
            Projection(splat.cameras, splat.size, splat.radius, splat.margin)
            if isinstance(splat, Splat)
            else None
        ),
        flip=flip,
        mirror_order=network.mirror_order,
        channels_apart=model.channels_apart,
    )


def _samples(recipe: Recipe, network: Network) -> tuple[Takes, tuple[int, ...]]:
    if recipe.data.shapes and not renders(recipe):
        return "cloud", (recipe.shapes.points, 3)
    return ("views" if recipe.data.shapes else "image"), network.input_shape


def _backbone(network: Network, name: str) -> tuple[str, dict[str, Any] | None]:
    """Name and settings of a backbone; a folder or a hub that others have not is not needed to build it again."""
    features = backbone_of(network.embedder.backbone)
    if not isinstance(features, HuggingFaceBackbone):
        return name, None
    return type(features.model).__name__, json.loads(features.model.config.to_json_string())
