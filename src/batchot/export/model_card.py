"""The model card of an export."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from torch import Tensor, nn

from batchot.data import Preparation
from batchot.data.augment.views import Splat
from batchot.export.loading import Architecture, Projection, Takes, TowerArchitecture
from batchot.models.huggingface import HuggingFaceBackbone
from batchot.search.encoder import fingerprint_of
from batchot.search.prepare import CloudInput, Inputs, ViewsInput
from batchot.search.records import SearchError
from batchot.search.run_encoder import RunEncoder
from batchot.training.cross_trained import CrossModalEmbedder
from batchot.training.files import RunFolder
from batchot.training.inputs import renders
from batchot.training.network import Network, backbone_of
from batchot.training.recipe import LossSettings, Recipe
from batchot.training.trained import TrainedEmbedder

SINGLE = "model"
"""Name of the only network of a run without towers."""


@dataclass(frozen=True, eq=False)
class Described:
    """A run as it is exported."""

    architecture: Architecture  # of its networks
    weights: dict[str, Tensor]  # by name, each tensor with memory of its own
    inputs: Inputs | None  # how shapes and drawings are made ready; None: it was not trained on shapes
    fingerprint: str  # see `batchot.search.encoder.Encoder`
    shape: str | None  # name of the network of shapes, if any
    drawing: str | None  # name of the network of drawings that are looked up among the shapes, if any


def describe(embedder: TrainedEmbedder | CrossModalEmbedder, run: Path) -> Described:
    """Say what the networks of a run are built of."""
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


_MEASURES = {
    "map": "mean average precision",
    "nn": "nearest neighbour",
    "ft": "first tier",
    "st": "second tier",
    "e": "E-measure",
    "dcg": "DCG",
    "accuracy": "accuracy",
    "knn_accuracy": "accuracy of the nearest neighbours",
}
_TYPES = {"views": "uint8", "image": "uint8", "cloud": "float32"}
_AXES = {"views": "shapes, views, channels, height, width", "image": "images, channels, height, width"}


def model_card(
    embedder: TrainedEmbedder | CrossModalEmbedder,
    run: Path,
    described: Described,
    about: Mapping[str, Any],
    checkpoint: Literal["last", "best"],
) -> str:
    """Write the model card of an export."""
    recipe, architecture = embedder.recipe, described.architecture
    parts = [
        "---\nlibrary_name: batchot\ntags: [metric-learning, 3d-shapes, retrieval, onnx]\n---",
        f"# {recipe.name}",
        recipe.about.rstrip(".") + "." if recipe.about else "",
        f"Embeds samples as {architecture.dimensions} numbers such that those of one class lie close to each other. "
        + ("The embeddings are unit vectors. " if architecture.normalized else "")
        + "They are compared by Euclidean distance."
        + (
            " The embeddings of all its networks lie in one space: a drawing can be looked up among shapes."
            if len(architecture.towers) > 1
            else ""
        ),
        "## Inputs",
        *(_input(name, tower, described) for name, tower in about["towers"].items()),
        "Everything else is in the files: projection of clouds to views, normalisation of pixels"
        + (", averaging with the mirror image" if recipe.evaluation.flip else "")
        + ".",
        "## Use",
        _usage(about),
        "## Measures",
        _measures(run, checkpoint),
        "## Training",
        _training(embedder, run, architecture),
        "## Limits",
        f"It tells apart the {len(architecture.classes)} classes below, and was measured on data like that of its "
        "training. The nearest neighbour of something else is still something: mind the distance. A classifier's "
        "probabilities are not calibrated.",
        "## Classes",
        ", ".join(architecture.classes) + ".",
        "## Identity",
        f"Fingerprint of weights and inputs: `{described.fingerprint}`. Exported {about['exported']} by batchot "
        f"{about['versions']['batchot']}, torch {about['versions']['torch']}, ONNX opset {about['versions']['opset']}.",
        "## Licence",
        "None is stated here: whoever publishes this network says under which licence, and minds that of the data.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _input(name: str, tower: Mapping[str, Any], described: Described) -> str:
    takes, shape = tower["takes"], " x ".join(map(str, tower["shape"]))
    axes = _AXES.get(takes, "clouds, points, coordinates")
    text = f"`{name}` takes `{takes}`: {_TYPES[takes]}, n x {shape} ({axes}). "
    if name == described.shape and described.inputs is not None:
        return text + _how_shapes(described.inputs)
    if name == described.drawing:
        return text + (
            "A drawing is dark strokes on white, 0 to 255, as "
            f"`batchot.data.sets.sketch_image.read_sketch(file, {tower['shape'][-1]})` gives it."
        )
    return text + "Pixels or coordinates are those of the data set that it was trained on."


def _how_shapes(inputs: Inputs) -> str:
    shape = inputs.shape
    said = "" if shape.up == "auto" else f" (in the files of its training {shape.up} points up)"
    stands = f"The shape is centred on its bounding box, in the unit sphere, z up{said}."
    if isinstance(shape, ViewsInput):
        views = shape.settings
        return (
            f"{stands} Views are those of `batchot.render_views(shape, {views.cameras!r}, size={views.size}, "
            f"channels={tuple(views.channels)!r}, antialias={views.antialias}, background={views.background}, "
            f"fit={views.fit})`."
        )
    assert isinstance(shape, CloudInput)
    clouds = shape.settings
    return (
        f"{stands} Of a mesh the {clouds.points:,} points are drawn evenly over its area, of a cloud they are the "
        f"{'first' if clouds.choice == 'first' else 'farthest from each other'}."
    )


def _usage(about: Mapping[str, Any]) -> str:
    name = about["shape"] or next(iter(about["towers"]))
    tower = about["towers"][name]
    if tower["onnx"] is None:
        return f"""```python
import torch
from batchot.export import load_exported

network = load_exported(".")
samples = torch.zeros({(1, *tower["shape"])}, dtype=torch.{_TYPES[tower["takes"]]})  # yours, see Inputs
embeddings = network.embed(samples, {name!r})  # (n, {about["dimensions"]})
```"""
    return f"""With onnxruntime alone:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({tower["onnx"]!r})
samples = np.zeros({(1, *tower["shape"])}, np.{_TYPES[tower["takes"]]})  # yours, see Inputs
(embeddings,) = session.run(["embedding"], {{{tower["takes"]!r}: samples}})  # (n, {about["dimensions"]})
print(embeddings.shape)
```

{_with_batchot(about)}"""


def _with_batchot(about: Mapping[str, Any]) -> str:
    if about["shape"] is None:
        return "Weights and architecture: `batchot.export.load_exported(folder)`."
    return """With batchot, for files of shapes:

```console
batchot index build THIS_FOLDER SHAPES --out INDEX
batchot search INDEX QUERY
```"""


def _measures(run: Path, checkpoint: Literal["last", "best"]) -> str:
    values = _row(RunFolder(run), checkpoint)
    if not values:
        return "The run was not measured."
    which = (
        "last epoch"
        if checkpoint == "last"
        else "epoch of the highest mean average precision on the test set"
    )
    lines = [
        f"On the test set of the run, after epoch {values['epoch']:g} ({which}):",
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {text} | {values[key]:.4f} |" for key, text in _MEASURES.items() if key in values]
    return "\n".join(lines)


def _row(folder: RunFolder, checkpoint: Literal["last", "best"]) -> dict[str, float]:
    """Measures of the epoch that was exported, numbers only."""
    if not folder.history.is_file():
        return {}
    with folder.history.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("map")]
    if not rows:
        return {}
    row = rows[-1] if checkpoint == "last" else max(rows, key=lambda row: float(row["map"]))
    return {key: float(row[key]) for key in ("epoch", *_MEASURES) if row.get(key)}


def _training(embedder: TrainedEmbedder | CrossModalEmbedder, run: Path, architecture: Architecture) -> str:
    recipe = embedder.recipe
    data = (
        {SINGLE: recipe.data} if isinstance(recipe, Recipe) else {n: t.data for n, t in recipe.towers.items()}
    )
    started = ""
    try:
        started = str(yaml.safe_load(RunFolder(run).config.read_text(encoding="utf-8"))["run"]["started"])
    except (KeyError, TypeError):  # of a slim copy, or written by hand
        started = "at a time that was not noted"
    lines = [
        f"Recipe {recipe.name}: loss {recipe.loss.name}, {recipe.epochs} epochs, seed {recipe.seed}, "
        f"started {started}."
    ]
    for tower in architecture.towers:
        backbone = f" {tower.backbone}" if tower.network in ("cnn", "mvcnn") else ""
        lines.append(f"- `{tower.name}`: {tower.network}{backbone}, trained on {data[tower.name].name}")
    return "\n".join([lines[0], "", *lines[1:]])
