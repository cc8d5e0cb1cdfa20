"""Kept features in the place of the samples of a run that trains what follows a frozen backbone."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from batchot.data import Normalization, Preparation, Samples
from batchot.data.augment.images import Splat
from batchot.models.efficientnet_lite import EfficientNetLite
from batchot.towers.features import Extractor, Features, OneForm, for_inference, identity_of, keep_features
from batchot.towers.spec import TowerSpec
from batchot.towers.tower import Tower, backbone_of, channels_last, replace_backbone
from batchot.training.recipe import Recipe


def keep(
    network: Tower,
    recipe: Recipe,
    preparation: Preparation,
    samples: Samples,
    *,
    training: bool,
    tell: Callable[[str], None] = lambda text: None,
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
    """Give what is done to samples before a trained network."""
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
