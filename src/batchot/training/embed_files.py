"""Embed files of a user with a trained run."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from batchot.training.device import Device, accelerator_of
from batchot.training.files import RunError, write_atomically, write_text
from batchot.training.inputs import renders, view_folder, view_settings
from batchot.training.run import embed_samples
from batchot.training.trained import load_run

if TYPE_CHECKING:
    from batchot.data import Samples
    from batchot.data.shape_collection import ShapeCollection
    from batchot.engine.engine import Engine
    from batchot.training.recipe import Recipe
    from batchot.training.scores import Embedded


@dataclass(frozen=True, eq=False)
class EmbeddedFiles:
    """Files after the network of a run."""

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]  # (n, d)
    predictions: tuple[str, ...]  # the class that the classifier reads off; empty where the run has none
    probabilities: NDArray[np.float32]  # (n,) of that class

    def save(self, path: Path) -> None:
        """Write a NumPy archive (``.npz``) or a table (``.csv``), whole or not at all.

        Raises:
            RunError: another ending, or the disk is full
        """
        if path.suffix == ".npz":
            arrays = {
                "names": np.array(self.names),
                "embeddings": self.embeddings,
                "predictions": np.array(self.predictions),
                "probabilities": self.probabilities,
            }
            write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
        elif path.suffix == ".csv":
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            dimensions = [f"e{k}" for k in range(self.embeddings.shape[1])]
            has = bool(self.predictions)
            writer.writerow(["name", *(["class", "probability"] if has else []), *dimensions])
            for k, name in enumerate(self.names):
                read_off = [self.predictions[k], f"{self.probabilities[k]:.6g}"] if has else []
                writer.writerow([name, *read_off, *(f"{x:.8g}" for x in self.embeddings[k])])
            write_text(path, text.getvalue())
        else:
            raise RunError(f"--out {path}: the ending must be .npz or .csv")


def embed_files(
    run: Path,
    collection: ShapeCollection,
    *,
    device: Device = "auto",
    tell: Callable[[str], None] = lambda text: None,
    progress: bool = False,
    engine: Engine | None = None,
) -> EmbeddedFiles:
    """Embed shapes, read and seen as those were that a run was trained on.

    Args:
        run: run folder
        collection: the shapes; what class they have is not looked at
        device: "auto" takes a GPU if there is one
        tell: told in sentences what is left out
        progress: show progress bars
        engine: whose workers read, render and embed; this process and others of this machine if None

    Returns:
        The embeddings, without the shapes that could not be read.

    Raises:
        RunError: there is no run, its checkpoint is damaged, or it was trained on images
        batchot.data.DataError: no shape could be read
    """
    embedder = load_run(run, accelerator_of(device))
    if not embedder.recipe.data.shapes:
        raise RunError(
            f"{run} was trained on images ({embedder.recipe.data.name}); batchot embed takes runs on shapes. "
            "For images call batchot.load_run(RUN)(images) from Python"
        )
    parts = [part for part in samples_of(embedder.recipe, collection, tell, progress, engine) if len(part)]
    if engine is None:
        embedded = [embed_samples(embedder, part) for part in parts]
    else:
        from batchot.training.embed_over import embed_over

        size = embedder.recipe.evaluation.batch
        embedded = embed_over(engine, run, parts, size, device=device, progress=progress)
    return gathered(parts, embedded, embedder.classes)


def gathered(
    parts: Sequence[Samples], embedded: Sequence[Embedded], classes: tuple[str, ...]
) -> EmbeddedFiles:
    """Put embedded sets of files together.

    Args:
        parts: the sets
        embedded: each of them after the network
        classes: names of the classes of the classifier
    """
    names = tuple(name for part in parts for name in part.names)
    embeddings = np.concatenate([part.embeddings.numpy() for part in embedded])
    logits = [part.logits for part in embedded if part.logits is not None]
    if not logits:
        return EmbeddedFiles(names, embeddings, (), np.zeros(0, np.float32))
    probabilities = np.concatenate([part.softmax(1).numpy() for part in logits])
    best = probabilities.argmax(1)
    return EmbeddedFiles(
        names, embeddings, tuple(classes[k] for k in best), probabilities.max(1).astype(np.float32)
    )


def samples_of(
    recipe: Recipe,
    collection: ShapeCollection,
    tell: Callable[[str], None],
    progress: bool,
    engine: Engine | None = None,
) -> tuple[Samples, Samples]:
    """Read or render shapes as a recipe has them: the training and the test part of the collection."""
    if renders(recipe):
        from batchot.data.views import MEMORY_BUDGET, load_views

        return load_views(
            collection,
            view_settings(recipe),
            view_folder(),
            memory_budget=MEMORY_BUDGET if engine is None else 0,  # the workers read them
            progress=progress,
            on_message=tell,
            engine=engine,
        )
    from batchot.data.clouds import load_clouds

    return load_clouds(collection, recipe.shapes.points, too_few="repeat", progress=progress, engine=engine)
