"""A cross-modal run: from a recipe with towers to a run folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchot.data import EvaluationBatches, Samples
from batchot.data.batches.paired import PairedTrainingBatches
from batchot.data.batches.samplers import generator_for
from batchot.data.labels import Share
from batchot.files import RunFolder
from batchot.ranks import on_first, rank_count, this_rank
from batchot.towers.saved import load_run
from batchot.training.calibrate import calibration_batches
from batchot.training.callbacks import Row
from batchot.training.cross_inputs import CrossData, load_cross, paired_batches, preparations
from batchot.training.cross_module import CrossModalLearner, make_cross_loss
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.distributed import described
from batchot.training.inputs import input_shape
from batchot.training.kept import keep, kept_preparation
from batchot.training.network import check_own, check_pretrained
from batchot.training.run import Device, Job, Messages, begin_from, embed_samples, fit_run, head_first
from batchot.training.scores import Embedded


@dataclass(frozen=True)
class TrainedCrossRun:
    """What a cross-modal run leaves in memory: enough for figures and reports."""

    folder: RunFolder
    recipe: CrossModalRecipe
    rows: tuple[Row, ...]
    data: CrossData
    queries: Embedded  # after the last epoch
    gallery: Embedded
    waited: float  # share of the training time in this session that was spent waiting for data


def train_cross(
    recipe: CrossModalRecipe,
    out: Path,
    *,
    data_root: Path | None = None,
    device: Device = "auto",
    resume: bool = False,
    command: str = "",
    messages: Messages | None = None,
) -> TrainedCrossRun:
    """Train the towers of a cross-modal recipe and fill a run folder.

    Args:
        recipe, out, data_root, device, resume, command, messages: as in `batchot.training.train`

    Returns:
        The finished run.

    Raises:
        RecipeError: the recipe does not fit the data or the loss
        RunError: `out` holds another run, a checkpoint is damaged, the disk is full, training diverged
        RunInterrupted: Ctrl-C or SIGTERM; a checkpoint has been written
        batchot.data.DataError: data is missing or damaged
    """
    messages = messages or Messages()
    for part in recipe.towers.values():
        check_own(part)
    make_cross_loss(recipe, n_classes=2)  # are its options right?
    how: dict[str, Any] = {"data_root": data_root, "device": device, "command": command, "messages": messages}
    for tower in recipe.towers.values():
        check_pretrained(dataclasses.replace(tower, name=recipe.name))
    head = head_first(recipe, out, resume, train_cross, how)
    resume = resume or head is not None

    def prepared() -> Job:
        data = load_cross(recipe, data_root, tell=messages.note, progress=messages.bar)
        learner, batches, evaluation = _prepare(recipe, data, messages)
        begin_from(learner, head)
        towers = ", ".join(
            f"{len(samples):,} {name} of {' x '.join(map(str, learner.input_shapes[name]))}"
            for name, samples in data.train.items()
        )
        about = (
            f"training on {towers}, {len(data.paired.shared)} classes in common; {len(data.queries):,} queries "
            f"against {len(data.gallery):,} of {len(data.gallery.labels.unique())} classes"
        )
        alike: dict[str, Any] = {}
        for name, samples in {**data.train, "queries": data.queries, "gallery": data.gallery}.items():
            alike |= described(f"the {name} samples", samples.labels, data.classes)
        return Job(learner, batches, evaluation, about, data, alike)

    fitted = fit_run(recipe, out, prepared, data_root, device, resume, command, messages)
    learner, data = fitted.job.learner, fitted.job.data
    assert isinstance(learner, CrossModalLearner)
    queries, gallery = learner.queries, learner.gallery
    if queries is None or gallery is None:  # the run was finished already
        queries = on_first(lambda: embed_samples(load_run(out), recipe, data.queries, recipe.query))
        gallery = on_first(lambda: embed_samples(load_run(out), recipe, data.gallery, recipe.target))
    return TrainedCrossRun(
        fitted.folder, recipe, fitted.rows, data, queries.on_cpu(), gallery.on_cpu(), fitted.waited
    )


def _prepare(
    recipe: CrossModalRecipe, data: CrossData, messages: Messages
) -> tuple[CrossModalLearner, PairedTrainingBatches, tuple[EvaluationBatches, EvaluationBatches]]:
    prepare = preparations(recipe, data)
    sampler = paired_batches(recipe, data)
    share = Share(this_rank(), rank_count())
    shapes = {name: input_shape(prepare[name], samples) for name, samples in data.train.items()}
    learner = CrossModalLearner(recipe, shapes, data.classes, len(sampler), prepare)
    train, queries, gallery = dict(data.train), data.queries, data.gallery
    for name, tower in recipe.towers.items():
        if tower.model.train == "head":
            one, raw, prepared = learner.network.tower(name), train[name], prepare[name]

            def kept(samples: Samples, training: bool) -> Samples:
                how: dict[str, Any] = {"tell": messages.note, "progress": messages.bar}
                return keep(one, tower, prepared, samples, training=training, **how)  # noqa: B023

            train[name], prepare[name] = kept(raw, True), kept_preparation(tower)
            if name == recipe.query:
                queries = kept(queries, False)
            if name == recipe.target:
                gallery = kept(gallery, False)
    batches = PairedTrainingBatches(train, sampler, prepare, seed=recipe.seed, share=share)
    if count := recipe.evaluation.recalibrate:
        for name, samples in train.items():
            generator, batch = generator_for(f"calibration {name}", recipe.seed), recipe.towers[name].batch
            learner.calibration[name] = calibration_batches(samples, prepare[name], batch, count, generator)
    size = recipe.evaluation.batch
    evaluation = (
        EvaluationBatches(queries, prepare[recipe.query], size, share),
        EvaluationBatches(gallery, prepare[recipe.target], size, share),
    )
    return learner, batches, evaluation
