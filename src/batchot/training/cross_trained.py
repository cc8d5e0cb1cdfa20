"""The trained towers of a cross-modal run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.data import Normalization, Preparation
from batchot.errors import RunError
from batchot.models import CosineHead
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.inputs import projection_of
from batchot.training.network import Network, Outputs, backbone_of, embed_by
from batchot.training.recipes import load_any_recipe
from batchot.training.saved_run import read_saved
from batchot.training.trained import RunEmbedder


class CrossNetwork(nn.Module):
    """A network for each tower, and a classifier that all of them share where the recipe has cross-entropy."""

    def __init__(
        self,
        recipe: CrossModalRecipe,
        input_shapes: Mapping[str, tuple[int, ...]],
        n_classes: int,
        *,
        load_pretrained: bool = True,
    ) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(
            {
                name: Network(
                    tower, input_shapes[name], n_classes, load_pretrained=load_pretrained, headless=True
                )
                for name, tower in recipe.towers.items()
            }
        )
        settings = recipe.loss
        self.head: nn.Module | None = None
        if settings.cross_entropy_weight > 0:
            width = self.tower(recipe.query).embedder.embedding_dim
            self.head = (
                CosineHead(width, n_classes, settings.head_scale)
                if settings.head == "cosine"
                else nn.Linear(width, n_classes)
            )
        if recipe.together.share != "none":
            names = list(recipe.towers)
            separate = recipe.together.norm == "separate"
            for name in names[1:]:
                for ours, first in self._shared(recipe, name, names[0]):
                    tie(ours, first, separate_norm=separate)

    def tower(self, name: str) -> Network:
        """Give the network of a tower."""
        network = self.towers[name]
        assert isinstance(network, Network)
        return network

    def _shared(self, recipe: CrossModalRecipe, name: str, first: str) -> list[tuple[nn.Module, nn.Module]]:
        mine, other = self.tower(name).embedder, self.tower(first).embedder
        pairs = [(backbone_of(mine.backbone), backbone_of(other.backbone))]
        if recipe.together.share == "all":
            pairs.append((mine.head, other.head))
        return pairs

    def forward(self, name: str, samples: Tensor) -> Outputs:
        """Give embeddings and logits of normalised samples of a tower."""
        embeddings = self.tower(name)(samples).embeddings
        return Outputs(embeddings, None if self.head is None else self.head(embeddings).float())


def tie(module: nn.Module, other: nn.Module, *, separate_norm: bool) -> None:
    """Let a module have the parameters of another of the same kind in the place of its own."""
    theirs = dict(other.named_modules())
    for name, mine in module.named_modules():
        twin = theirs.get(name)
        if isinstance(mine, _BatchNorm):
            if separate_norm:
                continue
            if isinstance(twin, _BatchNorm):  # statistics as well
                for key, buffer in twin._buffers.items():
                    mine._buffers[key] = buffer
        for key, parameter in mine._parameters.items():
            if parameter is None:
                continue
            shared = None if twin is None else twin._parameters.get(key)
            if shared is None or shared.shape != parameter.shape:
                raise ValueError(
                    f"{name}.{key}: networks that share weights must be alike; this one has "
                    f"{tuple(parameter.shape)}, the other {None if shared is None else tuple(shared.shape)}"
                )
            mine._parameters[key] = shared


def embed_tower(network: CrossNetwork, name: str, samples: Tensor, *, normalize: bool, flip: bool) -> Outputs:
    """Give the embeddings of a tower that are compared, and the logits that are read off."""
    mirrored = network.tower(name).mirrored(samples) if flip else None
    return embed_by(lambda x: network(name, x), samples, mirrored, normalize=normalize)


class CrossModalEmbedder(RunEmbedder):
    """The towers of a run in eval mode, each from its samples to embeddings in one space.

    Args:
        network: the towers and, where the recipe has one, their classifier
        recipe: of the run
        preparations: of the samples of each tower
        classes: names of the classes
        metrics: content of metrics.json, empty before the first evaluation
        normalized: L2-normalise the embeddings, as the loss does
    """

    network: CrossNetwork
    recipe: CrossModalRecipe

    def __init__(
        self,
        network: CrossNetwork,
        recipe: CrossModalRecipe,
        preparations: dict[str, Preparation],
        classes: tuple[str, ...],
        metrics: dict[str, Any],
        normalized: bool,
    ) -> None:
        super().__init__(network, recipe, classes, metrics, normalized)
        self.preparations = preparations

    @property
    def towers(self) -> tuple[str, ...]:
        """Names of the towers, queries first, targets last."""
        return tuple(self.recipe.towers)

    @property
    def embedding_dim(self) -> int:
        """Width of the embeddings."""
        return self.network.tower(self.recipe.query).embedder.embedding_dim

    def outputs(self, tower: str, samples: Tensor) -> Outputs:
        """Give embeddings and, where there is a classifier, logits; see `forward`.

        Raises:
            ValueError: there is no such tower
        """
        if tower not in self.towers:
            raise ValueError(f"there is no tower {tower!r}; there are {', '.join(self.towers)}")
        kept = self.network.tower(tower).kept
        x = samples if kept else self._prepared(self.preparations[tower], samples)
        flip = self.recipe.evaluation.flip
        return embed_tower(self.network, tower, x, normalize=self.normalized, flip=flip)

    def forward(self, tower: str, samples: Tensor) -> Tensor:
        """Embed samples by a tower.

        Args:
            tower: its name, such as "sketch" or "shape"
            samples: images (n, c, h, w) or views (n, v, c, h, w) as the tower has them, uint8 in 0 .. 255 or
                floating point in 0 .. 1; or clouds (n, p, 3), centred, in the unit sphere, z up

        Returns:
            Embeddings, shape (n, d), L2-normalised where the loss normalises; those of all towers can be compared.

        Raises:
            ValueError: no such tower, floating point pixels outside 0 .. 1
        """
        return self.outputs(tower, samples).embeddings


def load_cross_run(
    path: str | Path, device: str | torch.device = "cpu", *, checkpoint: Literal["last", "best"] = "last"
) -> CrossModalEmbedder:
    """Load the trained towers of a cross-modal run folder."""
    run = read_saved(path, checkpoint)
    recipe, saved = load_any_recipe(str(run.folder.config)), run.content
    if not isinstance(recipe, CrossModalRecipe):
        raise RunError(f"{run.folder.root} is the run of a single network; load it with batchot.load_run")
    try:
        classes, towers = tuple(saved["classes"]), dict(saved["towers"])
        normalized = bool(saved["normalized"])
        shapes = {name: tuple(towers[name]["input_shape"]) for name in recipe.towers}
        pixels = {name: (tuple(towers[name]["mean"]), tuple(towers[name]["std"])) for name in recipe.towers}
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.file} is not a checkpoint of a cross-modal run: it has no {error}") from error
    network = CrossNetwork(recipe, shapes, len(classes), load_pretrained=False)
    run.load_into(network)
    preparations = {
        name: Preparation(
            Normalization(*pixels[name]) if pixels[name][0] else None, projection=projection_of(tower)
        )
        for name, tower in recipe.towers.items()
    }
    return CrossModalEmbedder(network, recipe, preparations, classes, run.metrics(), normalized).to(device)
