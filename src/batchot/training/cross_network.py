"""What a cross-modal run trains: a network for each tower, some weights of which may be the same."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchot.models import CosineHead
from batchot.training.cross_recipe import CrossModalRecipe
from batchot.training.network import Network, Outputs, backbone_of, embed_by


class CrossNetwork(nn.Module):
    """A network for each tower, and a classifier that all of them share where the recipe has cross-entropy.

    Args:
        recipe: which networks, and what they share
        input_shapes: of one sample of each tower
        n_classes: classes of the classifier
        load_pretrained: fetch the pretrained weights that the recipe asks for
    """

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
    """Let a module have the parameters of another of the same kind in the place of its own.

    Args:
        module: is changed
        other: whose parameters it takes
        separate_norm: leave it its own batch normalisation, weights and statistics: drawings and renderings
            differ in just these (Chang and others, Domain-specific batch normalization, CVPR 2019)

    Raises:
        ValueError: the two differ in a parameter's name or shape

    >>> a, b = nn.Linear(2, 3), nn.Linear(2, 3)
    >>> tie(a, b, separate_norm=True)
    >>> a.weight is b.weight
    True
    """
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
    """Give the embeddings of a tower that are compared, and the logits that are read off.

    Args:
        network: in eval mode
        name: of the tower
        samples: normalised, (b, *input_shape)
        normalize: L2-normalise
        flip: average over each sample and its mirror image
    """
    mirrored = network.tower(name).mirrored(samples) if flip else None
    return embed_by(lambda x: network(name, x), samples, mirrored, normalize=normalize)
