"""The Lightning module of a cross-modal training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from batchot.data import EvaluationBatches, Preparation
from batchot.errors import RunError
from batchot.losses import CrossModal, CrossModalBatchOTLoss
from batchot.losses.joint import mean_cross_entropy
from batchot.ranks import on_first, rows_of_all
from batchot.towers.embedder import Embedder, Outputs
from batchot.training.calibrate import recalibrate
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.learner import Learner, Parts
from batchot.training.losses import batch_ot_settings, make_loss, normalizes
from batchot.training.network import make_network, seen_as
from batchot.training.scores import Embedded, score_across


def make_cross_loss(recipe: CrossModalRecipe, n_classes: int) -> CrossModalBatchOTLoss | CrossModal:
    """Make the metric loss of a cross-modal recipe, called with embeddings and labels by tower."""
    settings, together = recipe.loss, recipe.together
    within = {name: together.within.get(name, 1.0) for name in recipe.towers}
    across = {(a, b): together.across.get(f"{a}-{b}", 1.0) for a, b in recipe.pairs}
    if settings.name in ("batch-ot", "uniform"):
        return CrossModalBatchOTLoss.from_settings(
            batch_ot_settings(settings), within, across, four_terms=together.four_terms
        )
    width = recipe.towers[recipe.query].model.widths[-1]
    one = make_loss(settings, n_classes, width)
    return CrossModal(one, within, across, four_terms=together.four_terms)


def cross_normalizes(loss: nn.Module) -> bool:
    """Say whether a cross-modal loss L2-normalises the embeddings itself."""
    if isinstance(loss, CrossModalBatchOTLoss):
        return loss.settings.normalize
    assert isinstance(loss, CrossModal)
    return normalizes(loss.loss)


TowerBatches = dict[str, tuple[Tensor, Tensor]]


class CrossModalLearner(Learner):
    """The towers of a recipe, their common loss and optimiser."""

    def __init__(
        self,
        recipe: CrossModalRecipe,
        input_shapes: Mapping[str, tuple[int, ...]],
        classes: tuple[str, ...],
        steps_per_epoch: int,
        preparations: Mapping[str, Preparation],
    ) -> None:
        super().__init__(recipe, classes, steps_per_epoch)
        self.recipe: CrossModalRecipe = recipe
        self.input_shapes = dict(input_shapes)
        seen = {name: seen_as(shape, preparations[name]) for name, shape in input_shapes.items()}
        self.network: Embedder = make_network(recipe, seen, classes)
        self.objective = make_cross_loss(recipe, len(classes))
        self.normalized = cross_normalizes(self.objective)
        self.network.spec = replace(self.network.spec, normalized=self.normalized)
        self.preparations = dict(preparations)
        self.queries: Embedded | None = None  # of the epoch that was evaluated last
        self.gallery: Embedded | None = None
        self.calibration: dict[str, EvaluationBatches] = {}  # training samples for batch normalisation
        self._collected: list[Parts] = []

    def training_step(self, batch: TowerBatches, batch_idx: int) -> Tensor:
        """Give the loss of a batch of each tower."""
        outputs: dict[str, Outputs] = {
            name: self.run_network(name, x, chunk=self.recipe.towers[name].batch.chunk)
            for name, (x, _) in batch.items()
        }
        labels = {name: y for name, (_, y) in batch.items()}
        # of all ranks: every one computes the terms of the whole batches, only embeddings and labels are sent
        embedded = {
            name: (rows_of_all(out.embeddings), rows_of_all(labels[name])) for name, out in outputs.items()
        }
        try:
            with torch.autocast(self.device.type, enabled=False):
                loss = self._loss(outputs, labels, embedded)
        except ValueError as error:
            raise RunError(f"{self.where(batch_idx)}: {error}") from error
        self.check_finite(loss, batch_idx)
        self.log("train/loss", loss, batch_size=len(embedded[self.recipe.query][1]))
        if batch_idx == self.steps_per_epoch - 1:
            self._report_plans({name: (x.detach(), y) for name, (x, y) in embedded.items()})
        return loss

    def _loss(
        self, outputs: Mapping[str, Outputs], labels: Mapping[str, Tensor], embedded: TowerBatches
    ) -> Tensor:
        settings = self.recipe.loss
        loss = next(iter(embedded.values()))[0].new_zeros(())
        if settings.weight > 0:
            loss = loss + settings.weight * self.objective(embedded)
        if settings.cross_entropy_weight > 0:
            for name, out in outputs.items():
                assert out.logits is not None
                entropy = mean_cross_entropy(out.logits, labels[name], settings.label_smoothing)
                loss = loss + settings.cross_entropy_weight * entropy / len(outputs)
        return loss

    def _report_plans(self, embedded: TowerBatches) -> None:
        if not isinstance(self.objective, CrossModalBatchOTLoss):
            return
        for name, plan in self.objective.report(embedded).items():
            self.show_plan(plan, f"plan {name.replace('/', '-')}")
            if name == f"{self.recipe.query}/{self.recipe.target}":
                self.plan = plan

    def on_validation_epoch_start(self) -> None:
        """Forget the embeddings of the epoch before."""
        self._collected = [[], []]
        if self.calibration:
            towers = {name: self.network.tower(name) for name in self.calibration}
            batches = (
                (towers[name], towers[name].laid_out(samples.to(self.device)))
                for name, loader in self.calibration.items()
                for samples, _ in loader
            )
            recalibrate(self.network, lambda of_tower: of_tower[0](of_tower[1]), batches)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed queries (loader 0) and gallery (loader 1)."""
        samples, labels = batch
        name = (self.recipe.query, self.recipe.target)[dataloader_idx]
        with torch.autocast(samples.device.type, enabled=False):
            out = self.network.outputs(self.network.tower(name).laid_out(samples), name, prepared=True)
        self._collected[dataloader_idx].append((out.embeddings, out.logits, labels))

    def on_validation_epoch_end(self) -> None:
        """Measure the epoch."""
        queries, gallery = self.collected(self._collected)
        self.queries, self.gallery, self._collected = queries, gallery, []
        self.scores = on_first(
            lambda: score_across(
                queries,
                gallery,
                n_classes=len(self.classes),
                normalized=self.normalized,
                neighbours=self.recipe.evaluation.neighbours,
            )
        )
        self.log_dict({"test/map": self.scores.map, "test/accuracy": self.scores.accuracy})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what `load_run` needs beside the weights."""
        checkpoint["spec"] = self.network.spec.to_json()
