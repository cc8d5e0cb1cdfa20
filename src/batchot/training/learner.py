"""The Lightning module of a training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from batchot.data import EvaluationBatches
from batchot.errors import Diverged, RunError
from batchot.losses import BatchOTLoss, CrossModalBatchOTLoss, PlanReport
from batchot.losses.gradient_cache import forward_in_parts
from batchot.ranks import of_all, on_first, rank_count, sizes_of_all
from batchot.towers.embedder import Embedder, Outputs
from batchot.towers.spec import Samples
from batchot.training.evaluate import Embedded, Parts, Scores, gather, score
from batchot.training.losses import Objective, looked_at, normalizes
from batchot.training.network import make_network, recalibrate
from batchot.training.optimisers import make_optimiser, make_schedule
from batchot.training.recipe import Recipe

_LOGGED = ("violated_mass", "violated_pairs", "positive_mass", "effective_pairs", "marginal_error")
TowerBatches = dict[str, tuple[Tensor, Tensor]]  # samples and labels of each tower


class Learner(LightningModule):
    """The networks of a recipe, their loss and their optimiser.

    Args:
        recipe: of the run
        classes: names of the classes
        steps_per_epoch: batches in an epoch
        seen: what each network sees
    """

    def __init__(
        self, recipe: Recipe, classes: tuple[str, ...], steps_per_epoch: int, seen: Mapping[str, Samples]
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.classes = classes
        self.steps_per_epoch = steps_per_epoch
        self.seen = dict(seen)
        self.network: Embedder = make_network(recipe, seen, classes)
        self.objective = Objective(recipe, len(classes))
        self.network.spec = replace(self.network.spec, normalized=normalizes(self.objective.metric))
        self.scores: Scores | None = None  # of the epoch that was evaluated last
        self.queries: Embedded | None = None  # of that epoch
        self.gallery: Embedded | None = None  # None with one tower: queries are looked for among themselves
        self.calibration: dict[str, EvaluationBatches] = {}  # training samples for batch normalisation
        self.plan: PlanReport | None = None  # of the last batch of an epoch
        self.plans: list[tuple[int, PlanReport]] = []  # of a step (from 1) that is looked at
        self._collected: list[Parts] = []

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

    def run_network(self, name: str, samples: Tensor, *, chunk: int) -> Outputs:
        """Give what a tower says about a training batch: at once, or in chunks where the recipe has them."""
        tower = self.network.tower(name)
        x, parts = tower.laid_out(samples), 1
        if chunk:
            # Ranks may differ by a sample, but what they send each other within the network is sent in each chunk.
            parts = -(-max(sizes_of_all(len(x))) // chunk)
        embeddings: Tensor = forward_in_parts(tower, parts, x)
        return Outputs(embeddings, self.network.logits(embeddings))

    def training_step(self, batch: TowerBatches, batch_idx: int) -> Tensor:
        labels = {name: y for name, (_, y) in batch.items()}
        outputs = {
            name: self.run_network(name, x, chunk=self.recipe.towers[name].batch.chunk)
            for name, (x, _) in batch.items()
        }
        where = f"epoch {self.current_epoch + 1}, batch {batch_idx + 1}"
        try:
            with torch.autocast(self.device.type, enabled=False):
                loss: Tensor = self.objective(outputs, labels)
        except ValueError as error:  # the loss refuses embeddings that are not finite or too far apart
            finite = all(bool(torch.isfinite(out.embeddings).all()) for out in outputs.values())
            kind = RunError if finite and "diverged" not in str(error) else Diverged
            raise kind(f"{where}: {error}") from error
        if not bool(torch.isfinite(loss)):
            raise Diverged(
                f"{where}: the loss is {float(loss)}: training diverged. "
                "Lower optim.lr, set optim.clip=1, or set loss.normalize=true."
            )
        self.log("train/loss", loss, batch_size=len(labels[self.recipe.query]))
        last = batch_idx == self.steps_per_epoch - 1
        if last or (not self.recipe.several and looked_at(self.global_step + 1)):
            self._report_plans({n: (out.embeddings.detach(), labels[n]) for n, out in outputs.items()}, last)
        return loss

    def _report_plans(self, embedded: TowerBatches, last: bool) -> None:
        several, main = self.recipe.several, f"{self.recipe.query}/{self.recipe.target}"
        for name, plan in self.objective.plans(embedded).items():
            if not several:
                self.plans.append((self.global_step + 1, plan))
            if last:
                prefix = f"plan {name.replace('/', '-')}".rstrip()
                told = {f"{prefix}/{measure}": getattr(plan, measure) for measure in _LOGGED}
                # of its plan, not its samples
                self.log_dict(told, on_step=False, on_epoch=True, batch_size=1)
                self.plan = plan if not several or name == main else self.plan

    def on_validation_epoch_start(self) -> None:
        """Forget the embeddings of the epoch before."""
        self._collected = [[], []]
        towers = {name: self.network.tower(name) for name in self.calibration}
        batches = (
            (towers[name], towers[name].laid_out(samples.to(self.device)))
            for name, loader in self.calibration.items()
            for samples, _ in loader
        )
        if self.calibration:
            recalibrate(self.network, batches)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed queries (loader 0), and the gallery or some of the training samples (loader 1)."""
        samples, labels = batch
        name = (self.recipe.query, self.recipe.target)[dataloader_idx]
        # in float32, as `load_run` does, so that anyone gets the numbers of metrics.json again
        with torch.autocast(samples.device.type, enabled=False):
            out = self.network.outputs(self.network.tower(name).laid_out(samples), name, prepared=True)
        self._collected[dataloader_idx].append((out.embeddings, out.logits, labels))

    def on_validation_epoch_end(self) -> None:
        queries, reference = self.collected(self._collected)
        settings, last = self.recipe.evaluation, self.current_epoch == self.recipe.epochs - 1
        gallery = reference if self.recipe.several else None
        self.queries, self.gallery, self._collected = queries, gallery, []
        self.scores = on_first(
            lambda: score(
                queries,
                reference,
                gallery,
                n_classes=len(self.classes),
                normalized=self.network.normalized,
                svm=gallery is None and (last or settings.svm == "always"),
                neighbours=settings.neighbours,
            )
        )
        self.log_dict({"test/map": self.scores.map, "test/accuracy": self.scores.accuracy})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what `load_run` needs beside the weights."""
        checkpoint["spec"] = self.network.spec.to_json()


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
