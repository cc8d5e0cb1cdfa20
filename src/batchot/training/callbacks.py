"""What happens around the training steps: history, checkpoints, interruption, progress."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from batchot.errors import RunInterrupted, Tell
from batchot.files import RunFolder, write_atomically, write_csv, write_json
from batchot.ranks import on_any, rank_count, this_rank
from batchot.towers.saved import with_present_names
from batchot.training.learner import Learner
from batchot.training.losses import plan_row


@dataclass(frozen=True)
class Row:
    """One epoch in history.csv; None where it was not evaluated. The last evaluated one is metrics.json."""

    epoch: int
    map: float | None
    nn: float | None
    ft: float | None
    st: float | None
    e: float | None
    dcg: float | None
    accuracy: float | None
    accuracy_by: str | None
    seconds: float  # spent on training so far, evaluation not counted
    knn_accuracy: float | None
    loss: float  # mean over the batches of the epoch
    violated_mass: float | None  # of the last batch's plan, for batch-ot and uniform
    effective_pairs: float | None
    marginal_error: float | None
    seed: int
    positive_mass: float | None = None
    gradient: float | None = None  # mean norm of the gradient that a pair gives


class History(Callback):
    """Keep a row an epoch, and write history.csv, metrics.json and plan.csv."""

    def __init__(self, folder: RunFolder, on_epoch: Callable[[Row], None] | None) -> None:
        self.folder = folder
        self.on_epoch = on_epoch
        self.rows: list[Row] = []
        self.plans: list[dict[str, float | None]] = []
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.batches = 0
        self._seconds = 0.0
        self._before = 0.0  # seconds of earlier sessions
        self._since: float | None = None

    @property
    def here(self) -> float:
        """Seconds of training in this session."""
        return self.seconds() - self._before

    @property
    def evaluated(self) -> Row | None:
        """The last row with scores."""
        return next((row for row in reversed(self.rows) if row.map is not None), None)

    def seconds(self) -> float:
        """Give the training time so far; evaluations, figures and pauses between sessions are not counted."""
        return self._seconds + (0.0 if self._since is None else time.monotonic() - self._since)

    def _pause(self) -> None:
        self._seconds, self._since = self.seconds(), None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock (also within an epoch, after a resume)."""
        self._since = time.monotonic() if self._since is None else self._since
        _evaluate_when_due(trainer, pl_module)

    on_train_epoch_start = on_train_start

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss: Tensor = outputs["loss"] if isinstance(outputs, dict) else outputs
        self.loss_sum += loss.detach().double().cpu()
        self.batches += 1
        assert isinstance(pl_module, Learner)
        self.plans += [plan_row(step, pl_module.steps_per_epoch, plan) for step, plan in pl_module.plans]
        pl_module.plans = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause()
        assert isinstance(pl_module, Learner)
        epoch = trainer.current_epoch + 1
        if self.rows and self.rows[-1].epoch >= epoch:  # resumed from the checkpoint of this epoch's end
            return
        scores, plan = pl_module.scores, pl_module.plan
        measured = {} if scores is None else dataclasses.asdict(scores)
        names = ("map", "nn", "ft", "st", "e", "dcg", "accuracy", "accuracy_by", "knn_accuracy")
        of_plan = ("violated_mass", "effective_pairs", "marginal_error", "positive_mass", "gradient")
        row = Row(
            epoch=epoch,
            seconds=round(self.seconds(), 3),
            loss=float(self.loss_sum) / max(1, self.batches),
            seed=pl_module.recipe.seed,
            **{name: measured.get(name) for name in names},
            **{name: getattr(plan, name, None) for name in of_plan},  # None without a plan
        )
        pl_module.scores, pl_module.plan = None, None
        self.loss_sum.zero_()
        self.batches = 0
        self.rows.append(row)
        self.write()
        if self.on_epoch is not None:
            self.on_epoch(row)

    def write(self) -> None:
        """Write history.csv and metrics.json; of several processes the first one does."""
        if this_rank() > 0:
            return
        if self.rows:
            write_csv(self.folder.history, [dataclasses.asdict(row) for row in self.rows])
        if self.plans:
            write_csv(self.folder.plans, self.plans)
        if self.evaluated is not None:
            values = dataclasses.asdict(self.evaluated)
            write_json(self.folder.metrics, {k: v for k, v in values.items() if v is not None})

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "loss_sum": float(self.loss_sum),
            "batches": self.batches,
            "seconds": self.seconds(),
            "plans": self.plans,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [Row(**row) for row in state_dict["rows"]]
        self.loss_sum = torch.tensor(state_dict["loss_sum"], dtype=torch.float64)
        self.batches = state_dict["batches"]
        self.plans = state_dict.get("plans", [])  # an older checkpoint has none
        self._seconds = self._before = state_dict["seconds"]


def _evaluate_when_due(trainer: Trainer, learner: LightningModule) -> None:
    """Make Lightning evaluate every so many epochs, and always after the last and those named."""
    assert isinstance(learner, Learner)
    epoch, settings = trainer.current_epoch + 1, learner.recipe.evaluation
    due = epoch >= learner.recipe.epochs or epoch in settings.also
    trainer.check_val_every_n_epoch = 1 if due else settings.every


class StopRequest:
    """Whether the user asked to stop (Ctrl-C or SIGTERM), to be looked at between two batches."""

    def __init__(self) -> None:
        self.made = False
        self.handler: Callable[[int, object], None] | None = None

    @contextmanager
    def listening(self, tell: Tell) -> Iterator[None]:
        """Take the first SIGINT or SIGTERM as a request; the second one ends the process as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

        def note(number: int, frame: object) -> None:
            self.made = True
            for s, handler in before.items():
                signal.signal(s, handler)
            # torchrun sends SIGTERM also where a rank has failed
            if number == signal.SIGINT or rank_count() == 1:
                tell("stopping; a checkpoint is being written (once more to stop at once)")

        self.handler = note
        for s in before:
            signal.signal(s, note)
        try:
            yield
        finally:
            self.handler = None
            for s, handler in before.items():
                signal.signal(s, handler)


class Checkpoints(Checkpoint):
    """Keep last.ckpt and best.ckpt: at each epoch's end, every so many minutes, and on a stop request."""

    def __init__(self, folder: RunFolder, every: timedelta, history: History, stop: StopRequest) -> None:
        self.folder = folder
        self.every = every.total_seconds()
        self.history = history
        self.stop = stop
        self._saved_at = time.monotonic()

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder.last)
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stop.handler is not None:
            # Lightning's own would wait for a broadcast that no other rank makes
            signal.signal(signal.SIGTERM, self.stop.handler)
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch; its last batch is left to the epoch's end."""
        if batch_idx + 1 == trainer.num_training_batches:
            return
        # the same on all ranks: the clock is that of the first, and a stop may reach any of them
        due = this_rank() == 0 and time.monotonic() - self._saved_at >= self.every
        stop = on_any(self.stop.made)
        if on_any(due or stop):
            self._save(trainer)
        if stop:
            raise RunInterrupted

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch, and once more if it is the best so far."""
        self._save(trainer)
        rows = self.history.rows
        row = rows[-1]
        if row.map is not None and row.map >= max(r.map for r in rows if r.map is not None):
            trainer.save_checkpoint(self.folder.best)
        assert trainer.max_epochs is not None
        if on_any(self.stop.made) and row.epoch < trainer.max_epochs:
            raise RunInterrupted


class Averaging(WeightAveraging):
    """Exponential moving average of the weights, evaluated and kept in their place."""

    def __init__(self, decay: float) -> None:
        def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            keep = min(decay, (1 + int(steps)) / (10 + int(steps)))
            return averaged * keep + current * (1 - keep)

        super().__init__(avg_fn=average)


class Progress(TQDMProgressBar):
    """Lightning's bar with the loss, the best known mAP and the time that the whole run still takes."""

    def __init__(self, history: History) -> None:
        super().__init__(refresh_rate=10, leave=False)
        self.history = history
        self._start = (0.0, 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._start = (time.monotonic(), trainer.global_step)

    def on_train_epoch_start(self, trainer: Trainer, *rest: Any) -> None:
        """Count epochs from one, as everywhere else."""
        super().on_train_epoch_start(trainer, *rest)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    @property
    def validation_description(self) -> str:
        return "evaluation"

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        shown: dict[str, int | str | float | dict[str, float]] = {}
        if self.history.batches:
            shown["loss"] = f"{float(self.history.loss_sum) / self.history.batches:.4f}"
        if self.history.evaluated is not None:
            shown["mAP"] = f"{100 * (self.history.evaluated.map or 0):.2f}"
        began, first = self._start
        total = int(trainer.estimated_stepping_batches)
        done = trainer.global_step - first
        if done > 0:
            left = (time.monotonic() - began) * (total - trainer.global_step) / done
            shown["left"] = str(timedelta(seconds=round(left)))
        return shown


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, flushed to the disk before they take the place of the previous ones."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; a full disk leaves the previous one good."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(self, *where: Any, **how: Any) -> dict[str, Any]:
        return with_present_names(super().load_checkpoint(*where, **how))
