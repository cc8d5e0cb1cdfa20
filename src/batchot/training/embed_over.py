"""Embedding by the workers of an engine, in the very batches that one process would make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from batchot.data.views import Views
from batchot.engine.engine import EngineError, Lost
from batchot.training.device import Device, accelerator_of
from batchot.training.embed_seat import EmbedSeat
from batchot.training.learner import gather

if TYPE_CHECKING:
    from batchot.data import Samples
    from batchot.engine.engine import Engine
    from batchot.training.scores import Embedded


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
    """Embed sets of samples on the workers of an engine.

    Args:
        engine: whose workers see the run folder and the views as this process does
        run: folder of a trained run
        parts: the sets
        size: of a batch, which is never of two sets
        tower: of a cross-modal run
        device: "auto" takes GPUs if this machine has one
        progress: show a progress bar

    Returns:
        Each set after the network; the same bits as `embed_samples` gives on an equal machine.

    Raises:
        EngineError: there are no workers, or a batch has ended each worker that took it
    """
    kind = accelerator_of(device)
    batches = [(part, indices) for part in parts for indices in torch.arange(len(part)).split(size)]
    make = partial(EmbedSeat, run.absolute(), tower, kind, torch.get_num_threads())
    done: list[tuple[Tensor, Tensor | None] | None] = [None] * len(batches)
    with (
        engine.pool(make, shared=(run / "config.yaml",), gpu=kind != "cpu") as pool,
        tqdm(total=sum(map(len, parts)), desc="embedding", unit="shape", disable=not progress) as bar,
    ):
        for number, answer in pool.run(_sent(batches)):
            if isinstance(answer, Lost):
                part, indices = batches[number]
                named = part.names[int(indices[0])] if part.names else f"sample {int(indices[0])}"
                raise EngineError(
                    f"the {len(indices)} samples from {named} on could not be embedded: {answer}; lower "
                    "evaluation.batch in the config.yaml of the run, or --workers, if memory has run out"
                )
            done[number] = answer
            bar.update(len(batches[number][1]))
    results = iter(zip(batches, done, strict=True))
    return [gather(list(_of(part, size, results))) for part in parts]


def _sent(batches: Sequence[tuple[Samples, Tensor]]) -> Iterator[Samples]:
    """The batches as they travel: views are read where they are embedded."""
    for part, indices in batches:
        samples = part.subset(indices)
        yield samples.on_disk() if isinstance(samples, Views) else samples


def _of(
    part: Samples,
    size: int,
    results: Iterator[tuple[tuple[Samples, Tensor], tuple[Tensor, Tensor | None] | None]],
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    for _ in range(-(-len(part) // size)):
        (_, indices), answer = next(results)
        assert answer is not None
        yield answer[0], answer[1], part.labels[indices]
