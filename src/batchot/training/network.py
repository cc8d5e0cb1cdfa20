"""What is trained: backbone, metric network and, where the recipe has one, a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.data.augment.views import mirror_views
from batchot.models import MVCNN, CosineHead, Embedder, MetricNet
from batchot.models.backbones import make_backbone
from batchot.models.efficientnet_lite import EfficientNetLite
from batchot.models.features import make_features
from batchot.named import import_own, is_own, own
from batchot.training.recipe import Recipe, RecipeError
from batchot.training.saved_run import read_saved, trained_run
from batchot.training.settings import recipe_names


class Outputs(NamedTuple):
    """What the network says about a batch."""

    embeddings: Tensor  # (b, d), float32, not normalised
    logits: Tensor | None  # (b, c), None without a head


class Network(nn.Module):
    """Features, metric network and, where the recipe has cross-entropy, a classifier on the embeddings."""

    def __init__(
        self,
        recipe: Recipe,
        input_shape: tuple[int, ...],
        n_classes: int,
        *,
        load_pretrained: bool = True,
        headless: bool = False,
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        model, loss = recipe.model, recipe.loss
        features, out_features = _features(recipe, input_shape, load_pretrained)
        metric = MetricNet(
            out_features,
            widths=model.widths,
            activation=model.activation,
            batch_norm=model.batch_norm,
            dropout=model.dropout,
        )
        self.embedder = Embedder(features, metric)
        self.mirror_order = _mirror_order(recipe)
        self.kept = False  # takes the features of `view_features` in the place of samples
        self.cut = (
            model.frozen_layers
        )  # below which the backbone is frozen where the head is trained; None: all
        self._frozen = _freeze(self.embedder.backbone, model.train == "head", self.cut, model.freeze_norm)
        self.head: nn.Module | None = None
        if loss.cross_entropy_weight > 0 and not headless:
            width = model.widths[-1]
            self.head = (
                CosineHead(width, n_classes, loss.head_scale)
                if loss.head == "cosine"
                else nn.Linear(width, n_classes)
            )
        self.train()

    def forward(self, samples: Tensor) -> Outputs:  # (b, *input_shape)
        """Give embeddings and logits of normalised samples, or of kept features (b, k, v, f), the first of k forms."""
        if self.kept:
            embeddings = self.embedder.head(self._pooled(self._above_cut(samples[:, 0].float()))).float()
        else:
            embeddings = self.embedder(samples).float()
        return Outputs(embeddings, None if self.head is None else self.head(embeddings).float())

    def mirrored(self, samples: Tensor) -> Tensor:
        """Give the same samples seen in a mirror: images, views or clouds; of kept features the second form."""
        if self.kept:
            return samples[:, 1:2]
        if samples.ndim == 3:
            return samples * samples.new_tensor([-1, 1, 1])
        if samples.ndim == 4:
            return samples.flip(3)
        assert self.mirror_order is not None  # all cameras of a recipe are symmetric
        return mirror_views(samples, self.mirror_order)

    def train(self, mode: bool = True) -> Network:
        """Set training mode, in which what is frozen stays as it is."""
        super().train(mode)
        for module in self._frozen:
            module.train(False)
        return self

    @contextmanager
    def on_kept_features(self) -> Iterator[None]:
        """Take kept features in the place of samples in here."""
        before, self.kept = self.kept, True
        try:
            yield
        finally:
            self.kept = before

    def view_features(self, samples: Tensor) -> Tensor:  # (b, *input_shape) -> (b, v, f)
        """Give the features of the pictures of normalised samples, before they are pooled."""
        backbone = self.embedder.backbone
        features: Tensor = (
            backbone.view_features(samples) if isinstance(backbone, MVCNN) else backbone(samples).unsqueeze(1)
        )
        return features

    def _above_cut(self, kept: Tensor) -> Tensor:  # (b, v, c h w) -> (b, v, f)
        backbone = backbone_of(self.embedder.backbone)
        if self.cut is None or not isinstance(backbone, EfficientNetLite):
            return kept
        return backbone.upper(kept.flatten(0, 1), self.cut).unflatten(0, kept.shape[:2])

    def _pooled(self, features: Tensor) -> Tensor:  # (b, v, f) -> (b, f)
        backbone = self.embedder.backbone
        pooled: Tensor = backbone.pooling(features) if isinstance(backbone, MVCNN) else features[:, 0]
        return pooled


def backbone_of(features: nn.Module) -> nn.Module:
    """Give the image network in a tower's features: that of every view, or the features themselves."""
    return features.backbone if isinstance(features, MVCNN) else features


def _freeze(features: nn.Module, head: bool, cut: int | None, norms: bool) -> list[nn.Module]:
    """Take a backbone, its lower layers or its batch normalisation out of training; give what stays in eval mode."""
    backbone = backbone_of(features)
    frozen: list[nn.Module] = [m for m in backbone.modules() if norms and isinstance(m, _BatchNorm)]
    if head and cut is not None and isinstance(backbone, EfficientNetLite):
        frozen += backbone.layers()[:cut]
    elif head:
        frozen = [backbone]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def _features(recipe: Recipe, shape: tuple[int, ...], load_pretrained: bool) -> tuple[nn.Module, int]:
    model = recipe.model
    run = trained_run(model.pretrained)
    pretrained = None if model.pretrained == "none" or run or not load_pretrained else model.pretrained
    try:
        made = make_features(
            model.name,
            shape,
            channels=model.channels,
            batch_norm=model.batch_norm,
            backbone=model.backbone,
            pretrained=pretrained,
            pooling=model.pooling,
            channels_apart=model.channels_apart,
            views_at_once=1024,
        )
        if run and load_pretrained:
            load_backbone(backbone_of(made[0]), run)
        return made
    except (ValueError, OSError, ImportError) as error:
        if model.name not in ("cnn", "mvcnn"):  # the others have no backbone that could be at fault
            raise
        raise RecipeError(f"model.backbone: {model.backbone}: {error}") from error


def load_backbone(backbone: nn.Module, run: Path) -> None:
    """Give a backbone the weights of the backbone of a run."""
    saved = read_saved(run, "last").content["state_dict"]
    wanted = backbone.state_dict()
    for prefix in ("network.embedder.backbone.backbone.", "network.embedder.backbone."):
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


def _mirror_order(recipe: Recipe) -> tuple[int, ...] | None:
    if recipe.model.name != "mvcnn":
        return None
    from batchot.shapes.render.cameras import make_cameras, mirror_order

    return mirror_order(make_cameras(recipe.shapes.cameras).rotations)


def channels_last(samples: Tensor) -> Tensor:
    """Put the channels of images (b, c, h, w) or views (b, v, c, h, w) last in memory; leave others alone."""
    if samples.dtype == torch.float16:  # kept features
        return samples
    if samples.ndim == 4:
        return samples.contiguous(memory_format=torch.channels_last)
    if samples.ndim == 5:
        flat = samples.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return flat.unflatten(0, samples.shape[:2])
    return samples


def embed(network: Network, samples: Tensor, *, normalize: bool, flip: bool) -> Outputs:
    """Give the embeddings that are compared and the logits that are read off."""
    return embed_by(network, samples, network.mirrored(samples) if flip else None, normalize=normalize)


def embed_by(
    network: Callable[[Tensor], Outputs], samples: Tensor, mirrored: Tensor | None, *, normalize: bool
) -> Outputs:
    """Do what `embed` does, by any function from samples to outputs."""

    def once(x: Tensor) -> Outputs:
        embeddings, logits = network(x)
        return Outputs(nn.functional.normalize(embeddings) if normalize else embeddings, logits)

    first = once(samples)
    if mirrored is None:
        return first
    second = once(mirrored)
    mean = (first.embeddings + second.embeddings) / 2
    if normalize:
        mean = nn.functional.normalize(mean)
    if first.logits is None or second.logits is None:
        return Outputs(mean, None)
    return Outputs(mean, (first.logits + second.logits) / 2)
