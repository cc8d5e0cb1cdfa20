"""What the Lightning modules of all runs have in common."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, distributed, nn

from batchot.losses import PlanReport
from batchot.losses.gradient_cache import forward_in_parts
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.files import Diverged
from batchot.training.optimisers import make_optimiser, make_schedule
from batchot.training.recipe import Recipe
from batchot.training.scores import Scores


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

    def run_network(self, *inputs: Any, chunk: int) -> Any:
        """Give what the network says about a training batch: at once, or in chunks where the recipe has them.

        Args:
            inputs: of the network, the last one with a row a sample
            chunk: most samples at once; 0: all
        """
        if not chunk:
            return self.network(*inputs)
        rows = torch.tensor(len(inputs[-1]), device=self.device)
        if distributed.is_available() and distributed.is_initialized():
            # Ranks may differ by a sample, but what they send each other within the network is sent in each chunk.
            distributed.all_reduce(rows, distributed.ReduceOp.MAX)
        return forward_in_parts(self.network, -(-int(rows) // chunk), *inputs)

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
