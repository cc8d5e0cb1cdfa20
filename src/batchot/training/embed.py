"""Embed files and collections with a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from batchot.data import DataError, Images, Samples
from batchot.data.sets.pictures import IMAGE_ENDINGS
from batchot.data.sets.shape_files import ShapeCollection
from batchot.data.sets.shape_folder import collection_of
from batchot.data.sets.sketch_image import read_sketch
from batchot.data.views import Views
from batchot.device import Device, accelerator_of
from batchot.errors import RunError, Tell, nobody
from batchot.files import write_atomically, write_csv
from batchot.shapes.shape import Up
from batchot.towers.saved import load_run
from batchot.training.evaluate import Embedded, Parts, embed_samples, gather
from batchot.training.inputs import renders, view_folder, view_settings
from batchot.training.recipe import Recipe
from batchot.training.recipes import recipe_of
from batchot.workers.pool import Engine, EngineError, Lost


class EmbedSeat:
    """A trained network at a worker."""

    def __init__(self, run: Path, tower: str | None, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._outputs = partial(load_run(run, device).outputs, tower=tower)

    @torch.no_grad()
    def __call__(self, samples: Samples) -> tuple[Tensor, Tensor | None]:
        """Embed a batch; embeddings (b, d) and logits (b, c), on the CPU."""
        out = self._outputs(samples.batch(torch.arange(len(samples))))
        return out.embeddings.cpu(), None if out.logits is None else out.logits.cpu()


def embed_over(
    engine: Engine,
    run: Path,
    parts: Sequence[Samples],
    size: int,
    *,
    tower: str | None = None,
    device: Device = "auto",
    progress: bool = False,
) -> list[Embedded]:
    """Embed sets of samples on the workers of an engine."""
    kind = accelerator_of(device)
    batches = [(part, indices) for part in parts for indices in torch.arange(len(part)).split(size)]
    make = partial(EmbedSeat, run.absolute(), tower, kind, torch.get_num_threads())
    done: dict[int, tuple[Tensor, Tensor | None]] = {}
    with (
        engine.pool(make, shared=(run / "config.yaml",), gpu=kind != "cpu") as pool,
        tqdm(total=sum(map(len, parts)), desc="embedding", unit="shape", disable=not progress) as bar,
    ):
        # views travel without their pixels: they are read where they are embedded
        sent = (part.subset(indices) for part, indices in batches)
        for number, answer in pool.run(s.on_disk() if isinstance(s, Views) else s for s in sent):
            if isinstance(answer, Lost):
                part, indices = batches[number]
                named = part.names[int(indices[0])] if part.names else f"sample {int(indices[0])}"
                raise EngineError(
                    f"the {len(indices)} samples from {named} on could not be embedded: {answer}; lower "
                    "evaluation.batch in the config.yaml of the run, or --workers, if memory has run out"
                )
            done[number] = answer
            bar.update(len(batches[number][1]))
    found: list[Parts] = [[] for _ in parts]
    for number, (part, indices) in enumerate(batches):
        found[next(k for k, of in enumerate(parts) if of is part)].append(
            (*done[number], part.labels[indices])
        )
    return [gather(batches) for batches in found]


@dataclass(frozen=True, eq=False)
class EmbeddedFiles:
    """Files after the network of a run."""

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]  # (n, d)
    predictions: tuple[str, ...]  # the class that the classifier reads off; empty where the run has none
    probabilities: NDArray[np.float32]  # (n,) of that class

    def save(self, path: Path) -> None:
        """Write a NumPy archive (``.npz``) or a table (``.csv``), whole or not at all."""
        if path.suffix == ".npz":
            arrays = {
                "names": np.array(self.names),
                "embeddings": self.embeddings,
                "predictions": np.array(self.predictions),
                "probabilities": self.probabilities,
            }
            write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
        elif path.suffix == ".csv":
            read_off = ["class", "probability"] if self.predictions else []
            columns = ["name", *read_off, *(f"e{k}" for k in range(self.embeddings.shape[1]))]
            rows = []
            for k, name in enumerate(self.names):
                told = [self.predictions[k], f"{self.probabilities[k]:.6g}"] if read_off else []
                cells = [name, *told, *(f"{x:.8g}" for x in self.embeddings[k])]
                rows.append(dict(zip(columns, cells, strict=True)))
            write_csv(path, rows, columns)
        else:
            raise RunError(f"--out {path}: the ending must be .npz or .csv")


def embed_files(
    run: Path,
    path: Path,
    *,
    tower: str | None = None,
    up: Up = "auto",
    device: Device = "auto",
    tell: Tell = nobody,
    progress: bool = False,
    engine: Engine | None = None,
) -> tuple[EmbeddedFiles, int]:
    """Embed shapes or drawings, read and seen as those were that a tower was trained on; say how many there were."""
    embedder, recipe = load_run(run, accelerator_of(device)), recipe_of(run)
    several = len(embedder.towers) > 1
    name = tower or recipe.target
    if name not in embedder.towers:
        raise RunError(f"--tower {name}: {run} has {', '.join(embedder.towers)}")
    part = recipe.parts[name]
    if part.data.shapes:
        found = collection_of(path, up)
        count = len(found) + len(found.left_out)
        parts = [samples for samples in samples_of(part, found, tell, progress, engine) if len(samples)]
    elif several and part.data.drawn:
        drawings, count = _drawings(path, part.data.sketch_size, tell)
        parts = [drawings]
    elif several:
        raise RunError(
            f"--tower {name} takes {part.data.name}; call batchot.load_run(RUN)(images, {name!r}) from Python"
        )
    else:
        raise RunError(
            f"{run} was trained on images ({part.data.name}); batchot embed takes runs on shapes. "
            "For images call batchot.load_run(RUN)(images) from Python"
        )
    if engine is None:
        embedded = [embed_samples(embedder, recipe, samples, name) for samples in parts]
    else:
        size = recipe.evaluation.batch
        embedded = embed_over(engine, run, parts, size, tower=name, device=device, progress=progress)
    return gathered(parts, embedded, embedder.classes), count


def _drawings(path: Path, size: int, tell: Tell) -> tuple[Images, int]:
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


def gathered(
    parts: Sequence[Samples], embedded: Sequence[Embedded], classes: tuple[str, ...]
) -> EmbeddedFiles:
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
    recipe: Recipe, collection: ShapeCollection, tell: Tell, progress: bool, engine: Engine | None = None
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
