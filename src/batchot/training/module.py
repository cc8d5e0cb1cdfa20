"""The Lightning module: one step of training, and the evaluation of an epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from batchot.data import EvaluationBatches, Preparation
from batchot.losses import BatchOTLoss, JointLoss, plan_report
from batchot.losses.distributed import DistributedLoss
from batchot.ranks import on_first, rank_count, rows_of_all
from batchot.training.calibrate import recalibrate
from batchot.training.files import Diverged, RunError
from batchot.training.learner import Learner, Parts
from batchot.training.losses import make_loss, normalizes
from batchot.training.network import Network, channels_last, embed
from batchot.training.plan_history import looked_at
from batchot.training.recipe import LossSettings, Recipe
from batchot.training.scores import Embedded, score


class Metric(nn.Module):
    """A metric loss times its weight, on a batch or between the two halves of it.

    Args:
        loss: called as ``loss(embeddings, labels, ref_emb=..., ref_labels=...)``
        settings: weight, and what is set against what
    """

    def __init__(self, loss: nn.Module, settings: LossSettings) -> None:
        super().__init__()
        self.loss = loss
        self.weight = settings.weight
        self.halves = settings.against == "halves"

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Give the weighted loss, shape ()."""
        if self.weight == 0:
            return embeddings.new_zeros(())
        # made anew, so that the names of its parameters are those of one process
        loss = DistributedLoss(self.loss) if rank_count() > 1 else self.loss
        if self.halves:
            (x, y), (x_labels, y_labels) = embeddings.chunk(2), labels.chunk(2)
            value: Tensor = loss(x, x_labels, ref_emb=y, ref_labels=y_labels)
        else:
            value = loss(embeddings, labels)
        return self.weight * value


class MetricLearner(Learner):
    """A network, its loss and its optimiser.

    Args:
        recipe: all settings
        input_shape: of one sample as the network gets it
        classes: names of the classes
        steps_per_epoch: batches an epoch
        preparation: of the samples; its normalisation is kept beside the weights
    """

    def __init__(
        self,
        recipe: Recipe,
        input_shape: tuple[int, ...],
        classes: tuple[str, ...],
        steps_per_epoch: int,
        preparation: Preparation,
    ) -> None:
        super().__init__(recipe, classes, steps_per_epoch)
        self.recipe: Recipe = recipe
        self.input_shape = input_shape
        self.network: Network = Network(recipe, input_shape, len(classes))
        self.network.kept = recipe.model.train == "head"
        if recipe.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        metric = Metric(make_loss(recipe.loss, len(classes), recipe.model.widths[-1]), recipe.loss)
        self.objective: JointLoss = JointLoss(
            metric, recipe.loss.cross_entropy_weight, recipe.loss.label_smoothing
        )
        self.normalized = normalizes(metric.loss)
        self.normalization = preparation.normalization
        self.test: Embedded | None = None  # of the epoch that was evaluated last
        self.calibration: EvaluationBatches | None = None  # training samples for batch normalisation
        self._collected: list[Parts] = []

    def loss(self, embeddings: Tensor, logits: Tensor | None, labels: Tensor) -> Tensor:
        """Metric loss and, with a head, cross-entropy: shape ()."""
        with torch.autocast(embeddings.device.type, enabled=False):
            value: Tensor = (
                self.objective.metric(embeddings, labels)
                if logits is None
                else self.objective(embeddings, logits, labels)
            )
            return value

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Give the loss of one batch of prepared samples (b, *input_shape) and labels (b,)."""
        samples, labels = batch
        embeddings, logits = self.run_network(self._layout(samples), chunk=self.recipe.batch.chunk)
        try:
            loss = self.loss(embeddings, logits, labels)
        except ValueError as error:  # the loss refuses embeddings that are not finite or too far apart
            finite = bool(torch.isfinite(embeddings).all())
            kind = RunError if finite and "diverged" not in str(error) else Diverged
            raise kind(f"{self.where(batch_idx)}: {error}") from error
        self.check_finite(loss, batch_idx)
        self.log("train/loss", loss)
        last = batch_idx == self.steps_per_epoch - 1
        if last or looked_at(self.global_step + 1):
            self._report_plan(embeddings.detach(), labels, last)
        return loss

    def _layout(self, samples: Tensor) -> Tensor:
        return channels_last(samples) if self.recipe.channels_last else samples

    def _report_plan(self, embeddings: Tensor, labels: Tensor, last: bool) -> None:
        loss = self.objective.metric.loss
        if not isinstance(loss, BatchOTLoss):
            return
        if self.recipe.loss.against == "halves":
            x, y = (rows_of_all(half) for half in embeddings.chunk(2))
            x_labels, y_labels = (rows_of_all(half) for half in labels.chunk(2))
            plan = plan_report(x, x_labels, ref_emb=y, ref_labels=y_labels, settings=loss.settings)
        else:
            plan = plan_report(rows_of_all(embeddings), rows_of_all(labels), settings=loss.settings)
        self.plans.append((self.global_step + 1, plan))
        if last:
            self.plan = plan
            self.show_plan(plan)

    def on_validation_epoch_start(self) -> None:
        """Forget the embeddings of the epoch before."""
        self._collected = [[], []]
        if self.calibration is not None:
            batches = (self._layout(samples.to(self.device)) for samples, _ in self.calibration)
            recalibrate(self.network, batches)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed test samples (loader 0) and reference samples of the training set (loader 1)."""
        samples, labels = batch
        # in float32, as `load_run` does, so that anyone gets the numbers of metrics.json again
        with torch.autocast(samples.device.type, enabled=False):
            flip = self.recipe.evaluation.flip
            out = embed(self.network, self._layout(samples), normalize=self.normalized, flip=flip)
        self._collected[dataloader_idx].append((out.embeddings, out.logits, labels))

    def on_validation_epoch_end(self) -> None:
        """Measure the epoch."""
        test, reference = self.collected(self._collected)
        self._collected = []
        settings = self.recipe.evaluation
        last = self.current_epoch == self.recipe.epochs - 1
        self.test = test
        self.scores = on_first(
            lambda: score(
                test,
                reference,
                n_classes=len(self.classes),
                normalized=self.normalized,
                svm=last or settings.svm == "always",
                neighbours=settings.neighbours,
            )
        )
        self.log_dict({"test/map": self.scores.map, "test/accuracy": self.scores.accuracy})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what `load_run` needs beside the weights."""
        checkpoint["classes"] = list(self.classes)
        checkpoint["normalized"] = self.normalized
        checkpoint["input_shape"] = list(self.input_shape)
        pixels = self.normalization
        checkpoint["mean"] = [] if pixels is None else list(pixels.mean)
        checkpoint["std"] = [] if pixels is None else list(pixels.std)
