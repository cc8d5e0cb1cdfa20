"""Embed files of a user with a tower of a cross-modal run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from batchot.data import DataError, Images
from batchot.data.folder import IMAGE_ENDINGS
from batchot.data.sketch_decode import read_sketch
from batchot.training.cross_run import embed_tower_samples
from batchot.training.cross_trained import load_cross_run
from batchot.training.device import Device, accelerator_of
from batchot.training.embed_files import EmbeddedFiles, gathered, samples_of
from batchot.training.files import RunError
from batchot.training.inputs import sketch_size

if TYPE_CHECKING:
    from batchot.data.samples import Samples
    from batchot.data.shape_collection import ShapeCollection
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
    """Embed drawings or shapes, read and seen as those were that a tower was trained on.

    Args:
        run: folder of a cross-modal run
        tower: its name; None: that of the targets
        path: a file, or a folder that is searched
        collection: gives the shapes in `path`, where the tower takes shapes
        device: "auto" takes a GPU if there is one
        tell: told in sentences what is left out
        progress: show progress bars
        engine: whose workers read, render and embed; this process and others of this machine if None

    Returns:
        The embeddings, and how many files were found.

    Raises:
        RunError: there is no run, its checkpoint is damaged, or it has no such tower
        batchot.data.DataError: nothing could be read
    """
    embedder = load_cross_run(run, accelerator_of(device))
    name = tower or embedder.recipe.target
    if name not in embedder.towers:
        raise RunError(f"--tower {name}: {run} has {', '.join(embedder.towers)}")
    recipe = embedder.recipe.towers[name]

    def embedded(parts: list[Samples]) -> list[Embedded]:
        if engine is None:
            return [embed_tower_samples(embedder, name, part) for part in parts]
        from batchot.training.embed_over import embed_over

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
