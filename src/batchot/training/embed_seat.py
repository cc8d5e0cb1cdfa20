"""What a worker of an engine embeds with; it imports nothing that only training needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from batchot.training.network import Outputs
from batchot.training.trained import load_run

if TYPE_CHECKING:
    from batchot.data import Samples


class EmbedSeat:
    """A trained network at a worker.

    Args:
        run: its folder
        tower: of a cross-modal run; None for a run of a single network
        device: "cpu" or "cuda"
        threads: of torch, as many as in the process that hands out the work: the last bits depend on them
    """

    def __init__(self, run: Path, tower: str | None, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._outputs: Callable[[Tensor], Outputs]
        if tower is None:
            self._outputs = load_run(run, device).outputs
        else:
            from batchot.training.cross_trained import load_cross_run

            self._outputs = partial(load_cross_run(run, device).outputs, tower)

    @torch.no_grad()
    def __call__(self, samples: Samples) -> tuple[Tensor, Tensor | None]:
        """Embed a batch; embeddings (b, d) and logits (b, c), on the CPU."""
        out = self._outputs(samples.batch(torch.arange(len(samples))))
        return out.embeddings.cpu(), None if out.logits is None else out.logits.cpu()

    def close(self) -> None:
        """Nothing is held but memory."""
