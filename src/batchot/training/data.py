"""From a recipe to the data of its towers, with one list of classes, and to its batches."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from batchot.data import (
    BalancedBatches,
    BatchSampler,
    EvaluationBatches,
    Normalization,
    PairedTrainingBatches,
    PlainBatches,
    Preparation,
    Samples,
    Splits,
    TrainingBatches,
)
from batchot.data.augment.images import Splat
from batchot.data.batches.loader import ResumableBatches, sources_of
from batchot.data.batches.paired import PairedBatches, pair_classes
from batchot.data.samples import Share
from batchot.errors import Tell, nobody
from batchot.models.efficientnet_lite import EfficientNetLite
from batchot.ranks import rank_count, this_rank
from batchot.towers.features import Extractor, Features, OneForm, for_inference, identity_of, keep_features
from batchot.towers.spec import ONLY, TowerSpec
from batchot.towers.tower import Tower, backbone_of, channels_last, replace_backbone
from batchot.training.inputs import (
    all_of,
    collection_of,
    limited,
    load_own,
    mix_sources,
    other_sources,
    prepare,
    view_folder,
)
from batchot.training.recipe import BatchSettings, Recipe, RecipeError


@dataclass(frozen=True, eq=False)
class RunData:
    """The samples of a run, all labelled by one list of classes."""

    sets: dict[str, Splits[Any]]  # of each tower
    train: dict[str, Samples]  # of each tower
    queries: Samples
    gallery: Samples | None  # None: the queries, each without itself
    classes: tuple[str, ...]  # of all towers together
    shared: tuple[int, ...]  # labels of those that every tower has


def load_data(
    recipe: Recipe, data_root: Path | None, *, tell: Tell = nobody, progress: bool = False
) -> RunData:
    """Load the samples of all towers, and name the classes that only one of them has."""
    if recipe.several:
        return _load_several(recipe, data_root, tell, progress)
    splits = load_splits(recipe, data_root, tell=tell, progress=progress)
    name, classes = recipe.query, splits.train.classes
    shared = tuple(range(len(classes)))
    return RunData({name: splits}, {name: splits.train}, splits.test, None, classes, shared)


def _load_several(recipe: Recipe, data_root: Path | None, tell: Tell, progress: bool) -> RunData:
    target = load_splits(recipe, data_root, recipe.target, tell=tell, progress=progress)
    renamed = recipe.together.rename.get(recipe.target, {})
    asked = tuple(renamed.get(name, name) for name in target.train.classes)
    parts = {
        name: target
        if name == recipe.target
        else load_splits(recipe, data_root, name, asked=asked, tell=tell, progress=progress)
        for name in recipe.towers
    }
    rename = {name: _names_still_to_change(recipe, name) for name in recipe.towers}
    paired = pair_classes(parts, rename)
    for a, of_a, b, of_b in paired.near_misses:
        tell(
            f"{of_a!r} of {a} and {of_b!r} of {b} are different classes here; if they are one: "
            f"together.rename.{a}.{of_a}={of_b}"
        )
    for name, only in paired.only.items():
        if only:
            shown = ", ".join(only[:8]) + (f" and {len(only) - 8} more" if len(only) > 8 else "")
            negative = name == recipe.target and recipe.together.negatives > 0
            rest = "only negatives" if negative else "left out of the loss"
            kept = "kept in the gallery" if name == recipe.target else "still asked as queries"
            tell(f"{len(only)} classes of {name} alone, {rest} and {kept}: {shown}")
    if recipe.together.negatives and not paired.only[recipe.target]:
        tell(f"together.negatives: every class of {recipe.target} is asked for, so there are none to add")
    everything = recipe.together.gallery == "all"
    train = {name: part.train for name, part in paired.parts.items()}
    targets = paired.parts[recipe.target]
    if everything:
        train[recipe.target] = all_of(targets)
        gallery = train[recipe.target]
    else:
        gallery = targets.test
        if len(gallery) == 0:
            raise RecipeError(
                f"together.gallery: test is not allowed; {targets.name} has no test part, take all"
            )
    queries = paired.parts[recipe.query].test
    if len(queries) == 0:
        raise RecipeError(
            f"{recipe.query}.data: {paired.parts[recipe.query].name} has no test part to query with"
        )
    return RunData(paired.parts, train, queries, gallery, paired.classes, paired.shared_labels)


def _names_still_to_change(recipe: Recipe, name: str) -> dict[str, str]:
    tower, rename = recipe.towers[name].data, recipe.together.rename
    if tower.mixed:
        return {}  # see load_splits
    if tower.name == "line-drawings":  # they have the classes of the shapes that they were made from
        return rename.get(recipe.target, {}) | rename.get(name, {})
    return rename.get(name, {})


def load_splits(
    recipe: Recipe,
    data_root: Path | None,
    name: str | None = None,
    *,
    asked: Sequence[str] = (),
    tell: Tell = nobody,
    progress: bool = False,
) -> Splits[Any]:
    """Load the samples of a tower, the first by default: sketches with those of the other sources."""
    name = name or recipe.query
    tower = recipe.parts[name]
    source = tower.data.source

    def lines() -> Splits[Any]:
        return _line_drawings(recipe, tower, data_root, tell, progress)

    own = lines() if source == "lines" else load_own(tower, data_root, tell=tell, progress=progress)
    if not tower.data.mixed:
        return limited(own, tower)
    parts = {source: own, **other_sources(tower, data_root, tell)}
    if "lines" in tower.data.shares and "lines" not in parts:
        parts["lines"] = lines()
    rename, together = dict(tower.data.rename), recipe.together.rename
    for each in parts:
        of_set = together.get(name, {}) if each == source else {}
        of_shapes = together.get(recipe.target, {}) if each == "lines" else {}
        rename[each] = of_shapes | of_set | rename.get(each, {})
    return limited(mix_sources(tower, parts, rename=rename, asked=asked, tell=tell), tower)


def _line_drawings(
    recipe: Recipe, tower: Recipe, data_root: Path | None, tell: Tell, progress: bool
) -> Splits[Any]:
    from batchot.data.line_drawings import load_line_drawings
    from batchot.data.sets.quickdraw import Hand

    if not recipe.several:
        raise RecipeError("data.train_on: 'lines' are drawn from the shapes of a cross-modal recipe")
    target = recipe.parts[recipe.target]
    if not target.data.shapes:
        raise RecipeError(f"line drawings are made from shapes, but the tower {recipe.target} has images")
    collection = collection_of(target, data_root, tell)
    return load_line_drawings(
        collection,
        size=tower.data.sketch_size,
        cameras=tower.data.drawn_from,
        folder=view_folder(),
        hand=Hand.of(tower.augment.hand),
        progress=progress,
        on_message=tell,
    )


def paired_batches(recipe: Recipe, data: RunData) -> PairedBatches:
    """Give the sampler: the same classes in the batches of all towers."""
    labels = {name: samples.labels for name, samples in data.train.items()}
    sizes = {name: tower.batch.size for name, tower in recipe.towers.items()}
    shared = data.shared
    first = recipe.towers[recipe.query].batch
    # two samples of a class and tower at least, or there would be no positive pair within it
    classes = min(first.classes_per_batch or min(sizes.values()) // 2, len(shared))
    others = set(data.train[recipe.target].labels.tolist()) - set(shared)
    extra = {recipe.target: recipe.together.negatives} if others else None
    try:
        return PairedBatches(
            labels,
            sizes,
            classes,
            allowed=shared,
            extra=extra,
            batches=recipe.together.batches,
            sources={name: sources_of(samples) for name, samples in data.train.items()},
        )
    except ValueError as error:
        raise RecipeError(f"batch: {error}") from error


def preparations(recipe: Recipe, data: RunData) -> dict[str, Preparation]:
    """Give what is done to the samples of each tower: each has its own pixel statistics and augmentation."""
    return {
        name: prepare(part, dataclasses.replace(data.sets[name], train=data.train[name]))
        for name, part in recipe.parts.items()
    }


def sampler_of(recipe: Recipe, data: RunData) -> Any:
    return paired_batches(recipe, data) if recipe.several else _sampler(recipe, data.train[recipe.query])


def _sampler(recipe: Recipe, train: Samples) -> BatchSampler:
    settings = recipe.batch
    size, classes = settings.size, settings.classes_per_batch
    if settings.sampler == "balanced" and classes is None:
        present = len(train.labels.unique())
        if size < 2 * present or size % present or size > len(train):
            size = min(size, len(train))
            classes = max(1, min(present, size // 2))
            size -= size % classes
        else:
            classes = present
    if size > len(train):
        raise RecipeError(
            f"batch.size: {settings.size} is not allowed; there are {len(train):,} training samples"
        )
    try:
        sources = sources_of(train)
        if settings.sampler == "plain":
            return PlainBatches(len(train), size, sources=sources)
        assert classes is not None
        return BalancedBatches(train.labels, size, classes, sources)
    except ValueError as error:
        raise RecipeError(f"batch: {error}") from error


class _OneTower(TrainingBatches):
    """The batches of the only tower, by its name."""

    def _make(self, indices: Tensor, epoch: int, k: int) -> Any:
        return {ONLY: super()._make(indices, epoch, k)}


def training_batches(
    recipe: Recipe, sampler: Any, train: Mapping[str, Samples], prepare: Mapping[str, Preparation]
) -> ResumableBatches[Any, dict[str, tuple[Tensor, Tensor]]]:
    """Give this rank's part of the training batches, samples and labels by tower."""
    rank, ranks, seed = this_rank(), rank_count(), recipe.seed
    if recipe.several:
        return PairedTrainingBatches(train, sampler, prepare, seed=seed, share=Share(rank, ranks))
    share = Share(rank, ranks, halves=recipe.loss.against == "halves")
    return _OneTower(train[recipe.query], sampler, prepare[recipe.query], seed=seed, share=share)  # type: ignore[return-value]


def keep(
    network: Tower,
    recipe: Recipe,
    preparation: Preparation,
    samples: Samples,
    *,
    training: bool,
    tell: Tell = nobody,
    progress: bool = False,
) -> Features:
    """Give the features of samples by the backbone of a network, made once and kept on disk."""
    cut = recipe.model.frozen_layers
    whole = copy.copy(network)  # the same pooling, head and mirror, but another backbone
    whole._modules = {**network._modules, "embedder": copy.deepcopy(network.embedder)}
    replace_backbone(whole, lambda backbone: _below_cut(for_inference(backbone), cut))
    whole.eval()
    whole.kept = False
    splat, pixels = preparation.projection, preparation.normalization
    layers = "" if cut is None else f" layers {cut}"
    pair = None if pixels is None else (pixels.mean, pixels.std)
    looks = f"{splat} {pair} {recipe.model.channels_apart}{layers}"
    extractor = Extractor(
        lambda x: whole.view_features(channels_last(x)),
        whole.mirrored,
        preparation,
        next(network.parameters()).device,
        identity_of(backbone_of(network.embedder.backbone), looks),
        repr(recipe.augment),
    )
    flipped = recipe.evaluation.flip or (training and recipe.augment.flip)
    variants = recipe.model.kept_variants if training else 0
    return keep_features(
        extractor, samples, mirrored=flipped, augmented=variants, tell=tell, progress=progress
    )


def preparation_of(spec: TowerSpec) -> Preparation:
    seen = spec.projection
    return Preparation(
        Normalization(spec.mean, spec.std) if spec.mean else None,
        projection=None if seen is None else Splat(seen.cameras, seen.size, seen.radius, seen.margin),
    )


def kept_preparation(recipe: Recipe) -> Preparation:
    """Give what is done to kept features: for training one form of each sample is drawn, as augmentation."""
    first = [0, *([1] if recipe.augment.flip else [])]
    start = 2 if recipe.evaluation.flip or recipe.augment.flip else 1
    variants = range(start, start + recipe.model.kept_variants)
    return Preparation(None, OneForm((*first, *variants)))


def _below_cut(backbone: nn.Module, cut: int | None) -> nn.Module:
    return backbone if cut is None or not isinstance(backbone, EfficientNetLite) else _Lower(backbone, cut)


class _Lower(nn.Module):
    """The lower layers of a backbone, whose maps are kept flat."""

    def __init__(self, backbone: EfficientNetLite, n: int) -> None:
        super().__init__()
        self.backbone, self.n, self.in_channels = backbone, n, backbone.in_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone.lower(x, self.n).contiguous().flatten(1)


def calibration_batches(
    samples: Samples, preparation: Preparation, batch: BatchSettings, count: int, generator: torch.Generator
) -> EvaluationBatches:
    """Draw the batches of training samples for `recalibrate`, the same ones for all epochs."""
    chosen = torch.randperm(len(samples), generator=generator)[: count * batch.size]
    share = Share(this_rank(), rank_count())
    return EvaluationBatches(samples.subset(chosen), preparation, batch.at_once, share)
