"""What to say when a run is out of memory: which settings took it, and which of them to turn down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from batchot.errors import RunError
from batchot.training.learner import Learner
from batchot.training.recipe import Recipe


@contextmanager
def memory_errors_explained(learner: Learner) -> Iterator[None]:
    """Turn an error of PyTorch's or NumPy's allocator into one that says what to turn down."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(advice(learner.recipe, learner.training, error)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is that of an allocator: PyTorch's on a GPU or a CPU, or Python's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # On a CPU PyTorch has no class of its own for it.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def advice(recipe: Recipe, training: bool, error: BaseException) -> str:
    """Give the whole message."""
    where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
    lines = [
        f"{where} is out of memory in {'training' if training else 'the evaluation of an epoch'}"
        f"{_tried(error)}. Turn down one of these:"
    ]
    for name, tower in recipe.parts.items():
        for setting, effect in (_training if training else _evaluation)(tower):
            of_tower = recipe.several and not setting.startswith(("precision", "evaluation"))
            line = f"  {f'{name}.' if of_tower else ''}{setting}"
            lines += [f"{line}: {effect}"] if f"{line}: {effect}" not in lines else []
    return "\n".join(lines)


def _training(recipe: Recipe) -> list[tuple[str, str]]:
    batch, options = recipe.batch, []
    if (smaller := batch.at_once // 4) > 2:
        now = f"now {batch.chunk}" if batch.chunk else "now the whole batch"
        options.append(
            (
                f"batch.chunk={smaller}",
                f"samples in the network at once, {now}; the loss is that of the batch",
            )
        )
    if recipe.precision == "32":
        options.append(("precision=bf16", "halves most activations; now 32"))
    options.append((f"batch.size={max(2, batch.size // 2)}", f"samples a batch, now {batch.size}"))
    return [*options, *_samples(recipe)]


def _evaluation(recipe: Recipe) -> list[tuple[str, str]]:
    settings = recipe.evaluation
    options = [
        (
            f"evaluation.batch={max(1, settings.batch // 4)}",
            f"samples embedded at once, now {settings.batch}",
        ),
        (
            f"evaluation.train_samples={max(2, settings.train_samples // 4)}",
            f"training samples that classify, now {settings.train_samples}",
        ),
    ]
    return [*options, *_samples(recipe)]


def _samples(recipe: Recipe) -> list[tuple[str, str]]:
    """Settings that make each sample smaller."""
    if recipe.model.name == "mvcnn":
        size = recipe.shapes.size
        return [(f"shapes.size={max(8, size // 2)}", f"pixels a side of a view, now {size}")]
    if recipe.model.name in ("pointnet", "dgcnn"):
        points = recipe.shapes.points
        return [(f"shapes.points={max(1, points // 2)}", f"points a cloud, now {points}")]
    if (recipe.data.name == "folder" or recipe.data.drawn) and recipe.data.image_size is not None:
        size = recipe.data.image_size
        return [(f"data.image_size={max(4, size // 2)}", f"pixels a side of an image, now {size}")]
    return []


def _tried(error: BaseException) -> str:
    """What was asked for, where the allocator says so."""
    if found := re.search(r"ried to allocate (\d+) bytes", str(error)):
        return f" (asked for {int(found[1]) / 2**30:,.2f} GiB)"
    found = re.search(r"(?:ried to|Unable to) allocate ([\d.]+ [KMGTPE]?i?B)", str(error))
    return f" (asked for {found[1]})" if found else ""
