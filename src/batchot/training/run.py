"""A whole run: from a recipe to a run folder, and its evaluation afterwards."""

from __future__ import annotations

import json
import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger

from batchot.data import EvaluationBatches, Splits
from batchot.data.batches.loader import ResumableBatches
from batchot.data.batches.samplers import generator_for
from batchot.data.samples import Share
from batchot.device import Device, accelerator_of, has_bfloat16, reuse_large_blocks
from batchot.errors import RunError, RunInterrupted, Tell, nobody
from batchot.files import RunFolder, write_text
from batchot.models.layers import synchronise_dropout, synchronise_norms
from batchot.ranks import on_first, rank_count, this_rank
from batchot.towers.saved import check_weights, load_run, read_checkpoint
from batchot.training.callbacks import (
    AtomicCheckpointIO,
    Averaging,
    Checkpoints,
    History,
    Progress,
    Row,
    StopRequest,
)
from batchot.training.data import (
    RunData,
    calibration_batches,
    keep,
    kept_preparation,
    load_data,
    preparations,
    sampler_of,
    training_batches,
)
from batchot.training.distributed import (
    check_alike,
    described,
    one_machine_first,
    placement,
    strategy,
    together,
    versions,
)
from batchot.training.evaluate import Embedded, embed_samples
from batchot.training.inputs import input_shape, reference_samples
from batchot.training.launch import check_parts
from batchot.training.learner import Learner, memory_errors_explained
from batchot.training.losses import Objective
from batchot.training.network import check_own, check_pretrained, seen_as
from batchot.training.recipe import Recipe
from batchot.training.recipes import first_difference, head_recipe, load_recipe, to_mapping
from batchot.training.settings import leaves

Evaluation = tuple[EvaluationBatches, EvaluationBatches]  # of queries, and of what they are measured against


@dataclass(frozen=True)
class TrainedRun:
    """What a run leaves in memory: enough for figures and reports."""

    folder: RunFolder
    recipe: Recipe
    rows: tuple[Row, ...]
    data: RunData
    queries: Embedded  # the test samples of the first tower after the last epoch
    gallery: Embedded | None  # what they are looked for in, where that is not themselves
    normalized: bool  # the embeddings are compared by their directions
    waited: float  # share of the training time in this session that was spent waiting for data

    @property
    def splits(self) -> Splits[Any]:
        return self.data.sets[self.recipe.query]


@dataclass(frozen=True)
class Messages:
    """Who is told what while a run goes on."""

    note: Tell = nobody  # a line of text
    epoch: Callable[[Row], None] = lambda row: None  # an epoch is over
    bar: bool = False  # show a progress bar


def train(
    recipe: Recipe,
    out: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    resume: bool = False,
    command: str = "",
    messages: Messages | None = None,
) -> TrainedRun:
    """Train by a recipe and fill a run folder.

    In a process group of torch.distributed, its ranks train one network together, and the first one writes.

    Args:
        recipe: what to do
        out: run folder; it must not hold a run yet, unless `resume`
        data_root: where the data lies, see `batchot.data.load_dataset`
        device: "auto" takes a GPU if there is one
        resume: go on from the last checkpoint in `out`
        command: kept in config.yaml
        messages: who is told of the progress

    Returns:
        The finished run.

    Raises:
        RecipeError: the recipe does not fit the data or the loss
        RunError: `out` holds another run, a checkpoint is damaged, the disk is full, training diverged, memory is
            out
        RunInterrupted: Ctrl-C or SIGTERM; a checkpoint has been written
        batchot.data.DataError: data is missing or damaged
    """
    messages = messages or Messages()
    for part in recipe.parts.values():
        check_own(part)
    Objective(recipe, n_classes=2)  # are its options right?
    for part in recipe.parts.values():
        check_pretrained(part)
    how: dict[str, Any] = {"data_root": data_root, "device": device, "command": command, "messages": messages}
    head = head_first(recipe, out, resume, how)
    resume = resume or head is not None
    reuse_large_blocks()
    folder, accelerator = RunFolder(out), accelerator_of(device)
    check_alike(versions() | leaves(to_mapping(recipe)) | {"--device": accelerator, "--resume": resume})
    check_parts(recipe, rank_count())
    together(lambda: _check_folder(folder, recipe, resume))
    if this_rank() > 0:
        messages = Messages()

    def prepared() -> tuple[RunData, Learner, ResumableBatches[Any, Any], Evaluation]:
        seed_everything(recipe.seed, workers=True, verbose=False)
        data = load_data(recipe, data_root, tell=messages.note, progress=messages.bar)
        learner, batches, evaluation = _prepare(recipe, data, messages)
        if head is not None:
            saved = read_checkpoint(head)["state_dict"]
            check_weights(saved, learner.state_dict(), head)
            learner.load_state_dict(saved)
        return data, learner, batches, evaluation

    with quiet():
        data, learner, batches, evaluation = one_machine_first(prepared)
        cut, recipe = learner.recipe.epochs < recipe.epochs, learner.recipe
        several = {**data.train, "queries": data.queries, "gallery": data.gallery}
        sets = several if recipe.several else {"training": data.train[recipe.query], "test": data.queries}
        alike: dict[str, Any] = {}
        for name, samples in sets.items():
            if samples is not None:
                alike |= described(f"the {name} samples", samples.labels, data.classes)
        check_alike(alike)
        checkpoint = together(lambda: _resumable(folder, learner)) if resume else None
        if checkpoint is not None and recipe.max_steps is not None:
            together(lambda: _check_same(folder, recipe))
        if rank_count() > 1:
            synchronise_norms(learner.network)
            synchronise_dropout(learner.network)
            messages.note(f"{rank_count()} processes, each with its part of every batch")
        where = "the GPU" if accelerator == "cuda" else "the CPU"
        messages.note(f"{_about(recipe, data, learner)}; training on {where}")
        if recipe.precision == "auto" and not has_bfloat16(accelerator):
            messages.note("in float32: this device does not compute in bfloat16")
        if checkpoint is not None:
            messages.note(f"resuming from {checkpoint}")
        if cut:
            steps = learner.steps_per_epoch
            messages.note(f"epochs: {recipe.epochs} of {steps:,} steps, as max_steps is {recipe.max_steps:,}")
        if this_rank() == 0 and (not folder.config.exists() or (checkpoint is None and (cut or not resume))):
            _write_config(folder, recipe, command, data_root)
        history, stop = History(folder, messages.epoch), StopRequest()
        trainer = _trainer(recipe, folder, accelerator, history, stop, messages)
        with stop.listening(messages.note), memory_errors_explained(learner):
            try:
                trainer.fit(learner, batches, list(evaluation), ckpt_path=checkpoint, weights_only=True)
            except SystemExit as error:  # Lightning's answer to a second Ctrl-C
                raise KeyboardInterrupt from error
        history.write()
    queries, gallery = learner.queries, learner.gallery
    if queries is None:  # nothing was evaluated in this session, as the run was finished already
        queries = on_first(lambda: embed_samples(load_run(out), recipe, data.queries, recipe.query))
        if (sought := data.gallery) is not None:
            gallery = on_first(lambda: embed_samples(load_run(out), recipe, sought, recipe.target))
    return TrainedRun(
        folder=folder,
        recipe=recipe,
        rows=tuple(history.rows),
        data=data,
        queries=queries.on_cpu(),
        gallery=None if gallery is None else gallery.on_cpu(),
        normalized=learner.network.normalized,
        waited=batches.waited / history.here if history.here > 0 else 0.0,
    )


def _about(recipe: Recipe, data: RunData, learner: Learner) -> str:
    shapes = {name: " x ".join(map(str, seen.shape)) for name, seen in learner.seen.items()}
    if data.gallery is None:
        splits = data.sets[recipe.query]
        return (
            f"{splits.name}: {len(splits.train):,} training and {len(splits.test):,} test {_what(recipe)} of "
            f"{shapes[recipe.query]}, {len(data.classes)} classes"
        )
    towers = ", ".join(f"{len(samples):,} {name} of {shapes[name]}" for name, samples in data.train.items())
    return (
        f"training on {towers}, {len(data.shared)} classes in common; {len(data.queries):,} queries against "
        f"{len(data.gallery):,} of {len(data.gallery.labels.unique())} classes"
    )


def head_first(recipe: Recipe, out: Path, resume: bool, how: dict[str, Any]) -> Path | None:
    """Train what follows the backbone first, as a run of its own in the folder ``head`` of the run."""
    if all(tower.model.train != "head-then-all" for tower in recipe.towers.values()):
        return None
    first, folder, whole = head_recipe(recipe), RunFolder(out / "head"), RunFolder(out)
    together(lambda: _check_folder(whole, recipe, resume))
    if this_rank() == 0 and not whole.config.exists():  # so that --resume knows the run from here on
        _write_config(whole, recipe, how["command"], how["data_root"])
    if not _is_finished(folder):
        how["messages"].note(f"first the head, {first.epochs} epochs: {folder.root}")
        train(first, folder.root, resume=folder.config.exists(), **how)
    return folder.last


def _is_finished(folder: RunFolder) -> bool:
    if not (folder.metrics.is_file() and folder.last.is_file() and folder.config.is_file()):
        return False
    return bool(json.loads(folder.metrics.read_text()).get("epoch") == load_recipe(str(folder.config)).epochs)


def _what(recipe: Recipe) -> str:
    if not recipe.data.shapes:
        return "images"
    return "shapes, views" if recipe.model.name == "mvcnn" else "point clouds"


def _check_folder(folder: RunFolder, recipe: Recipe, resume: bool) -> None:
    if folder.root.exists() and not folder.root.is_dir():
        raise RunError(f"--out {folder.root} is a file, not a folder")
    if not resume:
        if folder.holds_run():
            raise RunError(
                f"{folder.root} holds a run already; nothing was changed. "
                "Add --resume to go on with it, or give another --out"
            )
        return
    if folder.config.is_file():
        # how many epochs max_steps admits is known with the samples
        _check_same(folder, recipe, but_epochs=recipe.max_steps is not None)
    elif folder.holds_run():
        raise RunError(f"--resume: {folder.root} has no config.yaml, so it is not known which run this was")


def _check_same(folder: RunFolder, recipe: Recipe, *, but_epochs: bool = False) -> None:
    stored = load_recipe(str(folder.config))
    recipe = replace(recipe, epochs=stored.epochs) if but_epochs else recipe
    if (difference := first_difference(recipe, stored)) is not None:
        name, here, there = difference
        raise RunError(
            f"--resume: {name} is {here!r} here but {there!r} in {folder.config}. Leave out RECIPE and "
            "the overrides to go on as the run was started, or give another --out for a new run"
        )


def _prepare(
    recipe: Recipe, data: RunData, messages: Messages
) -> tuple[Learner, ResumableBatches[Any, Any], Evaluation]:
    prepare, sampler = preparations(recipe, data), sampler_of(recipe, data)
    seen = {
        name: seen_as(input_shape(prepare[name], part), prepare[name]) for name, part in data.train.items()
    }
    recipe = recipe.for_steps(len(sampler))
    learner = Learner(recipe, data.classes, len(sampler), seen)
    train, queries, gallery = dict(data.train), data.queries, data.gallery
    for name, part in recipe.parts.items():
        if part.model.train == "head":
            model, tell, progress = learner.network.tower(name), messages.note, messages.bar
            kept = partial(keep, model, part, prepare[name], tell=tell, progress=progress)
            train[name] = kept(train[name], training=True)
            if name == recipe.query:
                queries = kept(queries, training=False)
            if name == recipe.target and gallery is not None:
                gallery = kept(gallery, training=False)
            prepare[name] = kept_preparation(part)
    share = Share(this_rank(), rank_count())
    if count := recipe.evaluation.recalibrate:
        for name, samples in train.items():
            stream = f"calibration {name}" if recipe.several else "calibration"
            generator, batch = generator_for(stream, recipe.seed), recipe.towers[name].batch
            learner.calibration[name] = calibration_batches(samples, prepare[name], batch, count, generator)
    reference = reference_samples(recipe, train[recipe.query]) if gallery is None else gallery
    size = recipe.evaluation.batch
    evaluation = (
        EvaluationBatches(queries, prepare[recipe.query], size, share),
        EvaluationBatches(reference, prepare[recipe.target], size, share),
    )
    return learner, training_batches(recipe, sampler, train, prepare), evaluation


def _resumable(folder: RunFolder, learner: Learner) -> Path | None:
    """Give the checkpoint to go on from, checked; None if the run was stopped before its first one."""
    if not folder.last.exists():
        return None
    saved = read_checkpoint(folder.last)
    check_weights(saved["state_dict"], learner.state_dict(), folder.last)
    return folder.last


def _write_config(folder: RunFolder, recipe: Recipe, command: str, data_root: Path | None) -> None:
    from importlib.metadata import version

    from batchot import __version__

    run = {
        "command": command,
        "data_root": None if data_root is None else str(data_root.resolve()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "batchot": __version__,
        "torch": str(torch.__version__),
        "lightning": version("lightning"),
        "python": platform.python_version(),
        "processes": rank_count(),
    }
    text = yaml.safe_dump(to_mapping(recipe) | {"run": run}, sort_keys=False, width=110)
    write_text(folder.config, text)


def _trainer(
    recipe: Recipe,
    folder: RunFolder,
    accelerator: str,
    history: History,
    stop: StopRequest,
    messages: Messages,
) -> Trainer:
    callbacks: list[Any] = [history]
    if recipe.optim.ema > 0:
        callbacks.append(Averaging(recipe.optim.ema))
    if messages.bar:
        callbacks.append(Progress(history))
    callbacks.append(Checkpoints(folder, timedelta(minutes=recipe.checkpoint_minutes), history, stop))
    devices, nodes = placement()
    half = recipe.precision == "bf16" or (recipe.precision == "auto" and has_bfloat16(accelerator))
    return Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy() if rank_count() > 1 else "auto",
        use_distributed_sampler=False,  # the batches are spread by batchot.data.Share
        max_epochs=recipe.epochs,
        precision="bf16-mixed" if half else "32-true",
        gradient_clip_val=recipe.optim.clip or None,
        # some CUDA kernels of the evaluation have no deterministic form, which must not stop a run
        deterministic=True if accelerator == "cpu" else "warn",
        benchmark=False,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder.root, name="", version="tensorboard"),
        default_root_dir=folder.root,
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=True,
        enable_progress_bar=messages.bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's tips and the warnings that do not concern a run of ours off the screen."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for pattern in (
            ".*does not have many workers.*",
            ".*module\\(s\\) in eval mode at the start of training.*",  # a frozen backbone
            ".*You are trying to `self.log\\(\\)`.*",
            ".*smaller than the logging interval.*",
            ".*LeafSpec.*",
            ".*isinstance\\(treespec.*",
            ".*Checkpoint directory.*",
            ".*does not have a deterministic implementation.*",
            ".*lr_scheduler.step.*before.*optimizer.step.*",
            ".*broadcast_buffers. is deprecated.*",  # its successor is not there before PyTorch 2.13
            ".*It is recommended to use .self.log.*sync_dist=True.*",  # what is logged is the same on all ranks
            ".*Grad strides do not match bucket view strides.*",
        ):
            warnings.filterwarnings("ignore", message=pattern)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


__all__ = ["Messages", "RunInterrupted", "TrainedRun", "train"]
