"""A network of one's own with a metric loss, under Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from batchot.evaluation import retrieval_scores
from batchot.evaluation.ranking import Distance
from batchot.losses import DistributedLoss
from batchot.ranks import rank_count, rows_of_all


class Learner(LightningModule):
    r"""A network and a metric loss as a LightningModule, for a ``Trainer`` and data of your own.

    A batch is ``(x, labels)`` with labels ``(n,)``. A step minimises ``loss(network(x), labels)``; over several
    processes the loss is that of the rows of all of them (:class:`batchot.DistributedLoss`), so that N processes with
    n rows train as one with :math:`N n`. It is logged as ``train/loss``. After the epoch each validation sample looks
    for its class among the others; ``val/map``, ``val/nn`` and ``val/map_at_r`` are logged, fractions.

    Subclass it for more: schedules by ``configure_optimizers``, other batches by ``training_step``.

    Args:
        network: any module from a batch of samples to embeddings, (n, d).
        loss: called as ``loss(embeddings, labels)``: ours, one of pytorch-metric-learning, or your own.
        optimizer: from parameters (those of the loss too, if it has any) to an optimiser. None: AdamW, rate 0.001.
        distance: how validation compares embeddings, see :func:`batchot.retrieval_scores`.

    Raises:
        MissingExtraError: (on getting the name) Lightning is not installed.
        ValueError: (in training) the loss refuses the embeddings, such as NaN.

    Example:
        >>> import torch
        >>> from lightning.pytorch import Trainer
        >>> from batchot import BatchOTLoss, Learner
        >>> learner = Learner(torch.nn.Linear(8, 4), BatchOTLoss())
        >>> data = torch.utils.data.TensorDataset(torch.randn(32, 8), torch.arange(32) % 4)
        >>> batches = torch.utils.data.DataLoader(data, batch_size=16)
        >>> quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        >>> trainer = Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
        >>> trainer.fit(learner, batches, batches)
        >>> 0 < float(trainer.callback_metrics["val/map"]) <= 1
        True
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
        distance: Distance = "cosine",
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimizer = optimizer or torch.optim.AdamW
        self.distance = distance
        self._embedded: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Any) -> Tensor:
        """Return the embeddings of a batch, (n, d)."""
        embeddings: Tensor = self.network(x)
        return embeddings

    def training_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch, a tensor of no dimension."""
        x, labels = batch
        # made anew, so that the names of its parameters are those of one process
        loss_of = DistributedLoss(self.loss) if rank_count() > 1 else self.loss
        loss: Tensor = loss_of(self(x), labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(labels))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget what was embedded before."""
        self._embedded = []

    def validation_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> None:
        """Embed a batch."""
        x, labels = batch
        self._embedded.append((self(x).float(), labels))

    def on_validation_epoch_end(self) -> None:
        """Measure what was embedded, of all processes together."""
        embeddings, labels = (rows_of_all(torch.cat(parts)) for parts in zip(*self._embedded, strict=True))
        self._embedded = []
        if self.trainer.sanity_checking:  # two batches, of perhaps one class
            return
        scores = retrieval_scores(embeddings, labels, distance=self.distance)
        values = {"val/map": scores.map, "val/nn": scores.nn, "val/map_at_r": scores.map_at_r}
        self.log_dict(values, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return the optimiser of network and loss."""
        return self.optimizer(self.parameters())
