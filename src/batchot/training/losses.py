"""The losses that a recipe can name, and what a step minimises."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from batchot.files import read_csv
from batchot.losses import (
    BatchOTLoss,
    BatchOTSettings,
    CrossModal,
    CrossModalBatchOTLoss,
    PlanHistogram,
    PlanReport,
    plan_report,
)
from batchot.losses.distributed import DistributedLoss
from batchot.losses.joint import mean_cross_entropy
from batchot.named import import_own, is_own, own
from batchot.ranks import rank_count, rows_of_all
from batchot.towers.embedder import Outputs
from batchot.training.recipe import LOSSES, LossSettings, Recipe, RecipeError
from batchot.training.settings import same_named, suggestion


def batch_ot_settings(settings: LossSettings) -> BatchOTSettings:
    """Give the options of the transport loss, or of its uniform plan, that a recipe names."""
    plan: Literal["transport", "uniform"] = "uniform" if settings.name == "uniform" else "transport"
    return BatchOTSettings(**same_named(BatchOTSettings, settings), plan=plan)


def transport_settings(settings: LossSettings) -> BatchOTSettings | None:
    """Give the options of the transport loss that a run is trained with; None where it is another loss."""
    return batch_ot_settings(settings) if settings.of_transport else None


def _library_class(class_name: str) -> Any:
    try:
        from pytorch_metric_learning import losses
    except ImportError as error:
        raise RecipeError(
            f"{class_name} needs pytorch-metric-learning, which is missing: pip install 'batchot[compare]'"
        ) from error
    return getattr(losses, class_name)


def _parameters(made: Any) -> list[str]:
    """Names of the arguments of a class, and of the loss it is derived from where it hands arguments on to it."""
    given = inspect.signature(made).parameters.values()
    names = [
        p.name for p in given if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    ]
    kinds = {p.kind for p in given}
    # mat_based_loss of GenericPairLoss is a function that the derived loss gives itself
    parents = [
        p
        for p in getattr(made, "__bases__", ())
        if p.__name__.endswith("Loss") and p.__name__ != "GenericPairLoss"
    ]
    if parents and kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        names += [name for parent in parents for name in _parameters(parent) if name not in names]
    return names


def _made(made: Any, settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    names = _parameters(made)
    given = {"num_classes": n_classes, "embedding_size": embedding_dim}
    supplied = {name: value for name, value in given.items() if name in names}
    allowed = [name for name in names if name not in supplied]
    for option in settings.options:
        if option not in allowed:
            raise RecipeError(
                f"loss.options: unknown option {option!r} of loss={settings.name}"
                f"{suggestion(option, allowed)} Allowed: {', '.join(allowed) or 'none'}"
            )
    module: nn.Module = made(**supplied, **settings.options)
    return module


def _own_loss(settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    try:
        made = own(settings.name)
        module = _made(made, settings, n_classes, embedding_dim)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"loss.name: {error}") from error
    if not isinstance(module, nn.Module):
        raise RecipeError(
            f"loss.name: {settings.name} must give a torch.nn.Module, not {type(module).__name__}"
        )
    return module


def make_loss(settings: LossSettings, n_classes: int, embedding_dim: int) -> nn.Module:
    """Make the metric loss that a recipe names, called as ``loss(embeddings, labels)``."""
    if is_own(settings.name):
        return _own_loss(settings, n_classes, embedding_dim)
    if settings.of_transport:
        sizes: dict[str, Any] = {"num_classes": n_classes, "embedding_size": embedding_dim}
        anchors = {**sizes, "anchor_weight": settings.anchors} if settings.anchors else {}
        return BatchOTLoss.from_settings(batch_ot_settings(settings), **anchors)
    where = LOSSES[settings.name]
    if is_own(where):
        import_own(where)
        return _made(own(where), settings, n_classes, embedding_dim)
    return _made(_library_class(where), settings, n_classes, embedding_dim)


def normalizes(loss: nn.Module) -> bool:
    """Say whether a loss L2-normalises the embeddings itself, so that they are to be compared by cosine."""
    if isinstance(loss, BatchOTLoss | CrossModalBatchOTLoss):
        return loss.settings.normalize
    if isinstance(loss, CrossModal | OneTower):
        return normalizes(loss.loss)
    if isinstance(said := getattr(loss, "normalizes", None), bool):  # a loss of one's own
        return said
    return bool(getattr(getattr(loss, "distance", None), "normalize_embeddings", False))


class OneTower(nn.Module):
    """A metric loss on the batch of the only tower, or between the two halves of it."""

    def __init__(self, loss: nn.Module, settings: LossSettings) -> None:
        super().__init__()
        self.loss = loss
        self.halves = settings.against == "halves"

    def forward(self, embedded: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        ((embeddings, labels),) = embedded.values()
        # made anew, so that the names of its parameters are those of one process
        loss = DistributedLoss(self.loss) if rank_count() > 1 else self.loss
        if self.halves:
            (x, y), (x_labels, y_labels) = embeddings.chunk(2), labels.chunk(2)
            return loss(x, x_labels, ref_emb=y, ref_labels=y_labels)
        return loss(embeddings, labels)

    def report(self, embedded: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, PlanReport]:
        """Give what the plan of a batch of all ranks does, by an empty name; nothing where there is none."""
        if not isinstance(self.loss, BatchOTLoss):
            return {}
        ((embeddings, labels),) = embedded.values()
        if not self.halves:
            found = plan_report(rows_of_all(embeddings), rows_of_all(labels), settings=self.loss.settings)
            return {"": found}
        x, y = (rows_of_all(half) for half in embeddings.chunk(2))
        x_labels, y_labels = (rows_of_all(half) for half in labels.chunk(2))
        return {"": plan_report(x, x_labels, ref_emb=y, ref_labels=y_labels, settings=self.loss.settings)}


class Objective(nn.Module):
    """What a step minimises: the metric loss of all towers, and the cross-entropy of their classifier."""

    def __init__(self, recipe: Recipe, n_classes: int) -> None:
        super().__init__()
        self.settings, self.several = recipe.loss, recipe.several
        self.metric = _metric(recipe, n_classes)

    def forward(self, outputs: Mapping[str, Outputs], labels: Mapping[str, Tensor]) -> Tensor:
        """Give the loss of what each tower says about its batch, shape ()."""
        settings = self.settings
        loss = next(iter(outputs.values())).embeddings.new_zeros(())
        if settings.weight > 0:
            embedded = {name: (out.embeddings, labels[name]) for name, out in outputs.items()}
            # every rank computes the terms of the whole batches; embeddings and labels are sent
            if self.several:
                embedded = self.of_all_ranks(embedded)
            loss = loss + settings.weight * self.metric(embedded)
        if settings.cross_entropy_weight > 0:
            for name, out in outputs.items():
                assert out.logits is not None
                entropy = mean_cross_entropy(out.logits, labels[name], settings.label_smoothing)
                loss = loss + settings.cross_entropy_weight * entropy / len(outputs)
        return loss

    def plans(self, embedded: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, PlanReport]:
        """Give what the plans of a batch do, by pair of towers such as "sketch/shape"."""
        if isinstance(self.metric, OneTower):
            return self.metric.report(embedded)
        if isinstance(self.metric, CrossModalBatchOTLoss):
            return self.metric.report(self.of_all_ranks(embedded))
        return {}

    @staticmethod
    def of_all_ranks(embedded: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
        """Give embeddings and labels of whole batches."""
        return {name: (rows_of_all(x), rows_of_all(y)) for name, (x, y) in embedded.items()}


def _metric(recipe: Recipe, n_classes: int) -> nn.Module:
    settings, together, width = recipe.loss, recipe.together, recipe.model.widths[-1]
    if not recipe.several:
        return OneTower(make_loss(settings, n_classes, width), settings)
    within = {name: together.within.get(name, 1.0) for name in recipe.towers}
    across = {(a, b): together.across.get(f"{a}-{b}", 1.0) for a, b in recipe.pairs}
    if settings.of_transport:
        return CrossModalBatchOTLoss.from_settings(
            batch_ot_settings(settings), within, across, four_terms=together.four_terms
        )
    return CrossModal(make_loss(settings, n_classes, width), within, across, four_terms=together.four_terms)


PARTS = tuple(field.name for field in dataclasses.fields(PlanHistogram))
_NUMBERS = tuple(field.name for field in dataclasses.fields(PlanReport) if field.name != "histogram")

# by column; "step", "epoch", numbers of the report, and PART_KK of the histogram
PlanRow = Mapping[str, float | None]


def looked_at(step: int) -> bool:
    """Say whether the plan of a step (from 1) is written down: 1, 2, 5, 10, ..., as the first ones change most."""
    digits = str(step).rstrip("0")
    return digits in ("1", "2", "5")


def plan_row(step: int, steps_per_epoch: int, plan: PlanReport) -> dict[str, float | None]:
    row: dict[str, float | None] = {"step": step, "epoch": round(step / steps_per_epoch, 6)}
    row |= {name: getattr(plan, name) for name in _NUMBERS}
    for part in PARTS:
        shares = getattr(plan.histogram, part)
        row |= {f"{part}_{k:02d}": round(share, 9) for k, share in enumerate(shares)}
    return row


def read_plans(path: Path) -> tuple[PlanRow, ...]:
    return read_csv(path, lambda row: {name: float(text) if text else None for name, text in row.items()})


def histogram_of(row: PlanRow, part: str) -> list[float]:
    """Give one part of the histogram of a line, from the hardest bin to the easiest."""
    names = sorted(name for name in row if name.startswith(f"{part}_") and name[-2:].isdigit())
    return [row[name] or 0.0 for name in names]
