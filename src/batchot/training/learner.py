"""The Lightning module of a training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from batchot.data import EvaluationBatches, Preparation
from batchot.errors import Diverged, RunError
from batchot.losses import BatchOTLoss, CrossModalBatchOTLoss, JointLoss, PlanReport, plan_report
from batchot.losses.distributed import DistributedLoss
from batchot.losses.gradient_cache import forward_in_parts
from batchot.ranks import of_all, on_first, rank_count, rows_of_all, sizes_of_all
from batchot.towers.embedder import Embedder, Outputs
from batchot.towers.spec import ONLY
from batchot.training.calibrate import recalibrate
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.losses import make_loss, normalizes
from batchot.training.network import make_network, seen_as
from batchot.training.optimisers import make_optimiser, make_schedule
from batchot.training.plan_history import looked_at
from batchot.training.recipe import LossSettings, Recipe
from batchot.training.scores import Embedded, Scores, score

Parts = list[tuple[Tensor, Tensor | None, Tensor]]  # embeddings, logits and labels of batches


class Learner(LightningModule):
    """A network, its loss and its optimiser; subclasses set `network` and `objective` and say what a step is."""

    network: Embedder
    objective: nn.Module

    def __init__(
        self, recipe: Recipe | CrossModalRecipe, classes: tuple[str, ...], steps_per_epoch: int
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.classes = classes
        self.steps_per_epoch = steps_per_epoch
        self.scores: Scores | None = None  # of the epoch that was evaluated last
        self.plan: PlanReport | None = None  # of the last batch of an epoch
        self.plans: list[tuple[int, PlanReport]] = []  # of a step (from 1) that is looked at

    def configure_optimizers(self) -> Any:
        """Optimiser, and the schedule that sets its rates at every step."""
        settings = self.recipe.optim
        optimiser = make_optimiser(settings, self.network, self.objective)
        schedule = make_schedule(settings, optimiser, self.steps_per_epoch, self.recipe.epochs)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let what is random in a step depend on the seed and the step alone, so that it can be resumed."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step)
        loss = self.recipe.loss
        if loss.lam_warmup > 0:
            steps = loss.lam_warmup * self.steps_per_epoch * self.recipe.epochs
            lam = loss.lam * min(1.0, self.global_step / steps)
            for module in self.objective.modules():
                if isinstance(module, BatchOTLoss | CrossModalBatchOTLoss):
                    module.settings = replace(module.settings, lam=lam)

    def collected(self, loaders: list[Parts]) -> list[Embedded]:
        """Join what all ranks have embedded in an evaluation, in the order of the samples."""
        mine = [gather(parts) for parts in loaders]
        if rank_count() == 1:
            return mine
        by_rank = of_all([part.on_cpu() for part in mine])
        joined = []
        for k, loader in enumerate(self.trainer.val_dataloaders or []):
            found = [embedded[k] for embedded in by_rank]
            if len(found[0].labels) == len(loader.samples):  # too few batches to be spread, see Share.turns
                found = found[:1]
            joined.append(gather([(e.embeddings, e.logits, e.labels) for e in found]).to(self.device))
        return joined

    def run_network(self, name: str | None, samples: Tensor, *, chunk: int) -> Outputs:
        """Give what a tower says about a training batch: at once, or in chunks where the recipe has them."""
        tower = self.network.tower(name)
        x, parts = tower.laid_out(samples), 1
        if chunk:
            # Ranks may differ by a sample, but what they send each other within the network is sent in each chunk.
            parts = -(-max(sizes_of_all(len(x))) // chunk)
        embeddings: Tensor = forward_in_parts(tower, parts, x)
        return Outputs(embeddings, self.network.logits(embeddings))

    def check_finite(self, loss: Tensor, batch_idx: int) -> None:
        """Stop the run where training has diverged."""
        if not bool(torch.isfinite(loss)):
            raise Diverged(
                f"{self.where(batch_idx)}: the loss is {float(loss)}: training diverged. "
                "Lower optim.lr, set optim.clip=1, or set loss.normalize=true."
            )

    def where(self, batch_idx: int) -> str:
        """Say at which batch the run is."""
        return f"epoch {self.current_epoch + 1}, batch {batch_idx + 1}"

    def show_plan(self, plan: PlanReport, prefix: str = "plan") -> None:
        """Log what a plan does."""
        self.log_dict(
            {
                f"{prefix}/violated_mass": plan.violated_mass,
                f"{prefix}/violated_pairs": plan.violated_pairs,
                f"{prefix}/positive_mass": plan.positive_mass,
                f"{prefix}/effective_pairs": plan.effective_pairs,
                f"{prefix}/marginal_error": plan.marginal_error,
            },
            on_step=False,
            on_epoch=True,
            batch_size=1,  # of a batch's plan, not of its samples
        )


def gather(parts: Parts) -> Embedded:
    """Join the batches of an evaluation."""
    logits = [part[1] for part in parts if part[1] is not None]
    return Embedded(
        torch.cat([part[0] for part in parts]),
        torch.cat(logits) if logits else None,
        torch.cat([part[2] for part in parts]),
    )


class Metric(nn.Module):
    """A metric loss times its weight, on a batch or between the two halves of it."""

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
    """A network, its loss and its optimiser."""

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
        self.network: Embedder = make_network(recipe, {ONLY: seen_as(input_shape, preparation)}, classes)
        metric = Metric(make_loss(recipe.loss, len(classes), recipe.model.widths[-1]), recipe.loss)
        self.objective: JointLoss = JointLoss(
            metric, recipe.loss.cross_entropy_weight, recipe.loss.label_smoothing
        )
        self.normalized = normalizes(metric.loss)
        self.network.spec = replace(self.network.spec, normalized=self.normalized)
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
        embeddings, logits = self.run_network(None, samples, chunk=self.recipe.batch.chunk)
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
            tower = self.network.tower()
            batches = (tower.laid_out(samples.to(self.device)) for samples, _ in self.calibration)
            recalibrate(self.network, tower, batches)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed test samples (loader 0) and reference samples of the training set (loader 1)."""
        samples, labels = batch
        # in float32, as `load_run` does, so that anyone gets the numbers of metrics.json again
        with torch.autocast(samples.device.type, enabled=False):
            out = self.network.outputs(self.network.tower().laid_out(samples), prepared=True)
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
        checkpoint["spec"] = self.network.spec.to_json()
