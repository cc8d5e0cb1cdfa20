"""Evaluate a run again."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from batchot.data import DataError, Images
from batchot.data.sets.pictures import IMAGE_ENDINGS
from batchot.data.sets.sketch_image import read_sketch
from batchot.device import Device, accelerator_of
from batchot.errors import RunError
from batchot.evaluation import RetrievalScores, knn_predictions, retrieval_scores, svm_predictions
from batchot.training.cross_inputs import load_cross
from batchot.training.cross_run import embed_tower_samples
from batchot.training.cross_trained import load_cross_run
from batchot.training.embed import EmbeddedFiles, gathered, samples_of
from batchot.training.inputs import load_splits, reference_samples, sketch_size
from batchot.training.run import embed_samples
from batchot.training.scores import MEASURES, accuracy_lines, averages, retrieval_lines
from batchot.training.trained import load_run

if TYPE_CHECKING:
    from batchot.data.samples import Samples
    from batchot.data.sets.collection import ShapeCollection
    from batchot.engine.engine import Engine
    from batchot.training.scores import Embedded


def embed_by_tower(
    run: Path,
    tower: str | None,
    path: Path,
    collection: Callable[[], ShapeCollection],
    *,
    device: Device = "auto",
    tell: Callable[[str], None] = lambda text: None,
    progress: bool = False,
    engine: Engine | None = None,
) -> tuple[EmbeddedFiles, int]:
    """Embed drawings or shapes, read and seen as those were that a tower was trained on."""
    embedder = load_cross_run(run, accelerator_of(device))
    name = tower or embedder.recipe.target
    if name not in embedder.towers:
        raise RunError(f"--tower {name}: {run} has {', '.join(embedder.towers)}")
    recipe = embedder.recipe.towers[name]

    def embedded(parts: list[Samples]) -> list[Embedded]:
        if engine is None:
            return [embed_tower_samples(embedder, name, part) for part in parts]
        from batchot.training.embed import embed_over

        size = embedder.recipe.evaluation.batch
        return embed_over(engine, run, parts, size, tower=name, device=device, progress=progress)

    if recipe.data.shapes:
        found = collection()
        parts = [part for part in samples_of(recipe, found, tell, progress, engine) if len(part)]
        return gathered(parts, embedded(parts), embedder.classes), len(found)
    if not recipe.data.drawn:
        raise RunError(
            f"--tower {name} takes {recipe.data.name}; call batchot.load_run(RUN)({name!r}, images) from Python"
        )
    drawings, count = _drawings(path, sketch_size(recipe), tell)
    return gathered([drawings], embedded([drawings]), embedder.classes), count


def _drawings(path: Path, size: int, tell: Callable[[str], None]) -> tuple[Images, int]:
    files = (
        [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGE_ENDINGS)
    )
    if not files:
        raise DataError(f"{path} holds no picture")
    names, pixels = [], []
    for file in files:
        try:
            drawing = read_sketch(file, size)
        except DataError as error:
            tell(str(error))
            continue
        if drawing is None:
            tell(f"{file} is blank and left out")
            continue
        names.append(file.name if path.is_file() else str(file.relative_to(path)))
        pixels.append(drawing)
    if not pixels:
        raise DataError(f"none of the {len(files):,} pictures of {path} could be read")
    images = torch.from_numpy(np.stack(pixels)).view(len(pixels), 1, size, size)
    labels = torch.zeros(len(pixels), dtype=torch.int64)
    return Images(images, labels, ("drawing",), tuple(names)), len(files)


def evaluate_cross(
    path: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    checkpoint: Literal["last", "best"] = "last",
) -> list[tuple[str, str]]:
    """Measure how well the queries of a run retrieve their targets."""
    embedder = load_cross_run(path, accelerator_of(device), checkpoint=checkpoint)
    recipe = embedder.recipe
    data = load_cross(recipe, data_root)
    queries = embed_tower_samples(embedder, recipe.query, data.queries)
    gallery = embed_tower_samples(embedder, recipe.target, data.gallery)

    def measured(ap_convention: Literal["relevant", "shrec13"]) -> RetrievalScores:
        return retrieval_scores(
            queries.embeddings,
            queries.labels,
            gallery.embeddings,
            gallery.labels,
            distance="cosine" if embedder.normalized else "euclidean",
            ap_convention=ap_convention,
        )

    scores, padded = measured("relevant"), measured("shrec13")
    table = [
        (
            f"{recipe.query} to {recipe.target}",
            f"{len(queries.labels):,} queries, {len(gallery.labels):,} in the gallery",
        ),
        ("", "per query   per class"),
        *retrieval_lines(scores),
        averages("mAP padded as SHREC'13", padded.map, padded.macro.map),
    ]
    if scores.n_skipped:
        table.append(("queries without a target", f"{scores.n_skipped:,}, left out"))
    k = min(recipe.evaluation.neighbours, len(gallery.labels))
    predictions = {
        f"{k} neighbours": knn_predictions(gallery.embeddings, gallery.labels, queries.embeddings, k=k)
    }
    table += accuracy_lines(queries, predictions, len(embedder.classes))
    classes = scores.per_class
    table.append(("", "      mAP       NN       FT       ST        E      DCG"))
    for row, label in enumerate(classes.labels.tolist()):
        values = [float(getattr(classes, name)[row]) for name in MEASURES]
        if not math.isnan(values[0]):
            text = "".join(f"{100 * value:9.2f}" for value in values)
            table.append((f"class {embedder.classes[label]}", text))
    return table


def evaluate(
    path: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    checkpoint: Literal["last", "best"] = "last",
) -> list[tuple[str, str]]:
    """Measure the embedder of a run folder on the test samples of its data set."""
    accelerator = accelerator_of(device)
    embedder = load_run(path, accelerator, checkpoint=checkpoint)
    recipe = embedder.recipe
    splits = load_splits(recipe, data_root)
    test = embed_samples(embedder, splits.test)
    reference = embed_samples(embedder, reference_samples(recipe, splits.train))
    scores = retrieval_scores(
        test.embeddings, test.labels, distance="cosine" if embedder.normalized else "euclidean"
    )
    k = min(recipe.evaluation.neighbours, len(reference.labels))
    predictions = {
        "svm": svm_predictions(reference.embeddings, reference.labels, test.embeddings, max_train=None),
        f"{k} neighbours": knn_predictions(reference.embeddings, reference.labels, test.embeddings, k=k),
    }
    accuracies = accuracy_lines(test, predictions, len(embedder.classes))
    return [("", "per query   per class"), *retrieval_lines(scores), *accuracies]
