"""What is trained: the networks of a recipe, with the weights that they begin from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.data import Preparation
from batchot.models import BackboneError
from batchot.models.backbones import make_backbone
from batchot.models.efficientnet_lite import EfficientNetLite
from batchot.models.layers import local_statistics
from batchot.named import import_own, is_own, own
from batchot.ranks import rank_count
from batchot.towers.embedder import Embedder
from batchot.towers.saved import read_saved, trained_run
from batchot.towers.spec import ONLY, Samples, describe
from batchot.towers.tower import backbone_of
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.recipes import to_mapping
from batchot.training.settings import recipe_names


def make_network(recipe: Recipe, samples: Mapping[str, Samples], classes: tuple[str, ...]) -> Embedder:
    """Make the networks of a recipe for samples as they are."""
    parts = recipe.parts
    named = {name: part.model.pretrained for name, part in parts.items()}
    runs = {name: run for name, pretrained in named.items() if (run := trained_run(pretrained)) is not None}
    by_name = {name: None if name in runs or p == "none" else p for name, p in named.items()}
    try:
        network = Embedder(describe(to_mapping(recipe), classes, True, samples), by_name)
    except BackboneError as error:
        raise RecipeError(f"model.backbone: {error}") from error
    for name in reversed(runs):  # the first last: where towers share weights, they are the first one's
        load_backbone(backbone_of(network.tower(name).embedder.backbone), runs[name])
    free = {id(p) for p in network.tower(recipe.query).parameters()}
    for name, part in parts.items():
        tower, head = network.tower(name), part.model.train == "head"
        tower.cut, tower.kept = part.model.frozen_layers, head
        tower.frozen = _frozen(backbone_of(tower.embedder.backbone), head, tower.cut, part.model.freeze_norm)
        for parameter in (p for module in tower.frozen for p in module.parameters()):
            if name == recipe.query or id(parameter) not in free:
                parameter.requires_grad_(False)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.train()


def _frozen(backbone: nn.Module, head: bool, cut: int | None, norms: bool) -> list[nn.Module]:
    """Give what of a backbone is not trained: all of it, its lower layers or its batch normalisation."""
    if head and cut is not None and isinstance(backbone, EfficientNetLite):
        kept = [m for m in backbone.modules() if norms and isinstance(m, _BatchNorm)]
        return [*kept, *backbone.layers()[:cut]]
    if head:
        return [backbone]
    return [m for m in backbone.modules() if norms and isinstance(m, _BatchNorm)]


def seen_as(input_shape: tuple[int, ...], preparation: Preparation) -> Samples:
    """Say what a network sees of prepared samples."""
    pixels = preparation.normalization
    return Samples(input_shape, () if pixels is None else pixels.mean, () if pixels is None else pixels.std)


def load_backbone(backbone: nn.Module, run: Path) -> None:
    """Give a backbone the weights of the backbone of a run."""
    saved = read_saved(run, "last").weights
    wanted = backbone.state_dict()
    for inner in ("backbone.backbone.", "backbone."):
        prefix = f"network.towers.{ONLY}.embedder.{inner}"
        found = {name: saved[prefix + name] for name in wanted if prefix + name in saved}
        if len(found) == len(wanted) and all(found[name].shape == wanted[name].shape for name in wanted):
            backbone.load_state_dict(found)
            return
    raise RecipeError(
        f"model.pretrained: {run} is a run of another backbone, of other channels or of towers; it must be a run of "
        "one network with the same model.backbone, on pictures of the same number of channels"
    )


def check_own(recipe: Recipe) -> None:
    """Import what a recipe names as ``module:name``, before anything is read or rendered."""
    for setting, name in (
        ("data.name", recipe.data.name),
        ("loss.name", recipe.loss.name),
        ("model.backbone", recipe.model.backbone),
    ):
        if is_own(name):
            try:
                import_own(name)
                own(name)
            except ValueError as error:
                raise RecipeError(f"{setting}: {error}") from error


def check_pretrained(recipe: Recipe) -> None:
    """Find out whether the weights of a package can be had, before anything is read or rendered."""
    model = recipe.model
    if model.pretrained != "package":
        return
    try:
        make_backbone(model.backbone, pretrained="package")
    except ValueError as error:
        alone = f"{recipe.name}-scratch"
        instead = f", or train the recipe {alone}" if alone in recipe_names() else ""
        raise RecipeError(f"model.backbone: {error}{instead}") from error


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[tuple[nn.Module, Tensor]]) -> None:
    """Replace the running means and variances by those of some batches under the present weights."""
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm)
        and module.track_running_stats
        and (module.weight is None or module.weight.requires_grad)  # frozen ones keep their statistics
    ]
    if not norms:
        return
    before = [(norm.training, norm.momentum) for norm in norms]
    try:
        for norm in norms:
            norm.train()
            norm.momentum = None  # PyTorch's word for a plain mean over the batches
            norm.reset_running_stats()
        with local_statistics(network):
            for tower, batch in batches:
                tower(batch)
        if rank_count() > 1:
            _average(norms)
    finally:
        for norm, (training, momentum) in zip(norms, before, strict=True):
            norm.train(training)
            norm.momentum = momentum


def _average(norms: list[_BatchNorm]) -> None:
    """Take the mean over the batches of all ranks."""
    done: set[int] = set()  # towers may share their statistics
    for norm in norms:
        mean, variance, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
        assert mean is not None
        assert variance is not None
        assert batches is not None
        if id(mean) in done:
            continue
        done.add(id(mean))
        both = torch.cat(
            [torch.stack([mean, variance]).double().flatten() * batches, batches.double().view(1)]
        )
        dist.all_reduce(both)
        means = (both[:-1] / both[-1]).view(2, -1).to(mean.dtype)
        mean.copy_(means[0])
        variance.copy_(means[1])
