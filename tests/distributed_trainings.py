"""Runs that the tests train by one process and by several: the same functions in each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from batchot.ranks import rank_count, this_rank
from batchot.training import run
from batchot.training.learner import Learner
from batchot.training.recipes import load_recipe

SMALL = (
    ("epochs", "1"),
    ("data.limit", "230"),
    ("batch.size", "46"),  # 23 + 23, and halves of 12 + 11
    ("evaluation.train_samples", "100"),
    ("model.widths", "[16,8]"),
    ("optim.name", "sgd"),
    ("optim.lr", "0.1"),
)
MNIST = (
    ("epochs", "10"),  # of 5 batches of 63: 32 + 31, and 16 + 16 + 16 + 15
    ("precision", "32"),
    (
        "channels_last",
        "false",
    ),  # PyTorch's own batch normalisation of channels-last images is exact to 1e-5 only
    ("data.limit", "320"),
    ("batch.size", "63"),
    ("evaluation.every", "10"),
    ("evaluation.train_samples", "200"),
    ("model.channels", "[4,8]"),
    ("model.widths", "[32,16]"),
)
HEADLESS = ("loss.cross_entropy_weight", "0")  # a head takes its embeddings in float32


@dataclass(frozen=True)
class Run:
    """A recipe with overrides, trained in float32 or with a network in float64.

    `gradients` is the tolerance for those of the first steps, relative to the largest of each parameter; what float32
    leaves of a gradient that batch normalisation takes the mean off is a difference of large numbers. `weights` is the
    tolerance for the weights at the end, relative to the way that training has moved them.
    """

    recipe: str
    overrides: tuple[tuple[str, str], ...]
    double: bool
    gradients: float
    weights: float


RUNS = {
    "mnist, 50 steps": Run("mnist", (*MNIST, HEADLESS), double=True, gradients=1e-5, weights=1e-3),
    # With the head. Without batch normalisation: behind it, rounding may choose another pixel of a pooled window.
    "mnist in float32": Run(
        "mnist",
        (*MNIST, ("epochs", "1"), ("model.batch_norm", "false")),
        double=False,
        gradients=1e-5,
        weights=1e-3,
    ),
    "halves, clipped, in chunks": Run(
        "digits",
        (
            *SMALL,
            ("loss.against", "halves"),
            ("optim.clip", "0.01"),
            ("augment.shift", "1"),
            ("batch.chunk", "8"),
            ("model.batch_norm", "false"),  # which would see chunks
        ),
        double=False,
        gradients=1e-5,
        weights=1e-4,
    ),
    "proxies, dropout": Run(
        "digits",
        (*SMALL, ("loss.name", "proxy-anchor"), ("model.dropout", "0.3")),
        double=False,
        gradients=2e-4,
        weights=1e-4,
    ),
    "average, recalibrated": Run(
        "digits",
        (
            *SMALL,
            ("model.name", "cnn"),
            ("model.backbone", "resnet10-w4"),
            ("model.batch_norm", "true"),
            ("optim.ema", "0.9"),
            ("evaluation.recalibrate", "3"),
            ("evaluation.flip", "true"),
            ("loss.cross_entropy_weight", "0.5"),
            ("loss.label_smoothing", "0.1"),
        ),
        double=False,  # the batches of the recalibration are in float32
        gradients=1e-3,
        weights=1e-3,
    ),
    "cross-modal": Run(
        "digits-twice",
        (
            ("epochs", "1"),
            ("optim.name", "sgd"),
            ("together.four_terms", "true"),
            ("right.batch.size", "31"),
        ),
        double=False,
        gradients=5e-4,
        weights=5e-4,
    ),
}
IN_FOUR = ("mnist, 50 steps",)
RECORDED = 5  # steps whose losses and gradients are kept


@dataclass
class Trained:
    """What came of a run in one process."""

    start: dict[str, Tensor] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recorded(trained: Trained) -> Iterator[None]:
    """Keep the losses, the first weights, and the gradients with which the optimiser takes its first steps."""
    original, step = Learner.on_train_batch_start, Learner.training_step

    def start(self: Learner, batch: Any, batch_idx: int) -> None:
        original(self, batch, batch_idx)
        if not trained.start:
            trained.start = {k: v.clone() for k, v in self.state_dict().items()}

    def before_step(self: Learner, optimizer: Any) -> None:
        if len(trained.gradients) < RECORDED:
            found = {k: p.grad.clone() for k, p in self.named_parameters() if p.grad is not None}
            trained.gradients.append(found)

    def see(self: Learner, batch: Any, batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)
        trained.losses.append(loss.item())
        return loss

    with (
        patch.object(Learner, "on_train_batch_start", start),
        patch.object(Learner, "training_step", see),
        patch.object(Learner, "on_before_optimizer_step", before_step),
    ):
        yield


def as_rank() -> None:
    """Set what torchrun tells its processes."""
    if rank_count() > 1:
        os.environ |= {"RANK": str(this_rank()), "LOCAL_RANK": str(this_rank())}
        os.environ |= {"WORLD_SIZE": str(rank_count()), "LOCAL_WORLD_SIZE": str(rank_count())}


def trained_by(made: Run, out: Path, data: Path, cross: Path) -> Trained:
    """Train, in as many ranks as there are."""
    recipe = load_recipe(str(cross) if made.recipe == "digits-twice" else made.recipe, made.overrides)
    trained = Trained()
    trainer = partial(_trainer, run.Trainer, made.double)
    with recorded(trained), patch.object(run, "Trainer", trainer):
        root = data if recipe.data.name == "mnist" else None
        rows = run.train(recipe, out, data_root=root, device="cpu").rows
    trained.weights = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    trained.row = {k: v for k, v in vars(rows[-1]).items() if k not in ("seconds", "marginal_error")}
    return trained


def _trainer(made: type, double: bool, **settings: Any) -> Any:
    return made(**settings | ({"precision": "64-true"} if double else {}))


def all_runs(folder: Path, mnist: Path, cross: Path) -> dict[str, Trained]:
    """Train everything that the tests look at."""
    torch.set_num_threads(1)
    as_rank()
    names = RUNS if rank_count() < 4 else IN_FOUR
    return {name: trained_by(RUNS[name], folder / name, mnist, cross) for name in names}
