"""What the Lightning modules of all runs have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from batchot.losses import BatchOTLoss, CrossModalBatchOTLoss, PlanReport
from batchot.losses.gradient_cache import forward_in_parts
from batchot.ranks import of_all, rank_count, sizes_of_all
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.files import Diverged
from batchot.training.optimisers import make_optimiser, make_schedule
from batchot.training.recipe import Recipe
from batchot.training.scores import Embedded, Scores

Parts = list[tuple[Tensor, Tensor | None, Tensor]]  # embeddings, logits and labels of batches


class Learner(LightningModule):
    """A network, its loss and its optimiser; subclasses set `network` and `objective` and say what a step is.

    Args:
        recipe: all settings
        classes: names of the classes
        steps_per_epoch: batches an epoch
    """

    network: nn.Module
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
        """Join what all ranks have embedded in an evaluation, in the order of the samples.

        Args:
            loaders: what this rank has embedded of each of the trainer's loaders
        """
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

    def run_network(self, *inputs: Any, chunk: int) -> Any:
        """Give what the network says about a training batch: at once, or in chunks where the recipe has them.

        Args:
            inputs: of the network, the last one with a row a sample
            chunk: most samples at once; 0: all
        """
        if not chunk:
            return self.network(*inputs)
        # Ranks may differ by a sample, but what they send each other within the network is sent in each chunk.
        most = max(sizes_of_all(len(inputs[-1])))
        return forward_in_parts(self.network, -(-most // chunk), *inputs)

    def check_finite(self, loss: Tensor, batch_idx: int) -> None:
        """Stop the run where training has diverged.

        Raises:
            Diverged: the loss is NaN or infinite
        """
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
