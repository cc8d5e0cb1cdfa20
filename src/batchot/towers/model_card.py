"""The model card of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from batchot.files import RunFolder, read_csv
from batchot.towers.embedder import Embedder
from batchot.towers.spec import CloudInput, EmbedderSpec, Inputs, ViewsInput


@dataclass(frozen=True, eq=False)
class Described:
    """A network as it is exported."""

    spec: EmbedderSpec
    weights: dict[str, Tensor]  # by name, each tensor with memory of its own
    fingerprint: str  # see `EmbedderSpec.fingerprint`

    @property
    def inputs(self) -> Inputs | None:
        """How shapes and drawings are made ready; None: it was not trained on shapes."""
        return None if self.spec.inputs is None else Inputs.from_json(self.spec.inputs)


def described(embedder: Embedder) -> Described:
    towers = {name: replace(tower, channels_last=False) for name, tower in embedder.spec.towers.items()}
    spec = replace(embedder.spec, towers=towers)
    # Towers that share weights hold the same memory, which safetensors refuses to write twice.
    weights = {
        name: value.detach().clone().contiguous()
        for name, value in spec.short_names(embedder.state_dict()).items()
    }
    return Described(spec, weights, spec.fingerprint({name: v.numpy() for name, v in weights.items()}))


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
    embedder: Embedder,
    run: Path,
    described: Described,
    about: Mapping[str, Any],
    checkpoint: Literal["last", "best"],
) -> str:
    recipe, spec = embedder.recipe, described.spec
    parts = [
        "---\nlibrary_name: batchot\ntags: [metric-learning, 3d-shapes, retrieval, onnx]\n---",
        f"# {recipe.name}",
        recipe.about.rstrip(".") + "." if recipe.about else "",
        f"Embeds samples as {spec.dimensions} numbers such that those of one class lie close to each other. "
        + ("The embeddings are unit vectors. " if spec.normalized else "")
        + "They are compared by Euclidean distance."
        + (
            " The embeddings of all its networks lie in one space: a drawing can be looked up among shapes."
            if len(spec.towers) > 1
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
        _training(embedder),
        "## Limits",
        f"It tells apart the {len(spec.classes)} classes below, and was measured on data like that of its "
        "training. The nearest neighbour of something else is still something: mind the distance. A classifier's "
        "probabilities are not calibrated.",
        "## Classes",
        ", ".join(spec.classes) + ".",
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
    if name == described.spec.gallery and described.inputs is not None:
        return text + _how_shapes(described.inputs)
    if name == described.spec.drawing:
        return text + (
            "A drawing is dark strokes on white, 0 to 255, as "
            f"`batchot.data.sets.sketch_image.read_sketch(file, {tower['shape'][-1]})` gives it."
        )
    return text + "Pixels or coordinates are those of the data set that it was trained on."


def _how_shapes(inputs: Inputs) -> str:
    shape, up = inputs.shape, inputs.shape.settings.up
    said = "" if up == "auto" else f" (in the files of its training {up} points up)"
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
    rows = [row for row in read_csv(folder.history, lambda row: row) if row.get("map")]
    if not rows:
        return {}
    row = rows[-1] if checkpoint == "last" else max(rows, key=lambda row: float(row["map"]))
    return {key: float(row[key]) for key in ("epoch", *_MEASURES) if row.get(key)}


def _training(embedder: Embedder) -> str:
    recipe = embedder.recipe
    # of a slim copy, or written by hand, it is not known
    started = getattr(getattr(recipe, "run", None), "started", "at a time that was not noted")
    lines = [
        f"Recipe {recipe.name}: loss {recipe.loss.name}, {recipe.epochs} epochs, seed {recipe.seed}, "
        f"started {started}."
    ]
    for name, tower in embedder.spec.towers.items():
        backbone = f" {tower.backbone}" if tower.network in ("cnn", "mvcnn") else ""
        lines.append(f"- `{name}`: {tower.network}{backbone}, trained on {tower.data}")
    return "\n".join([lines[0], "", *lines[1:]])
